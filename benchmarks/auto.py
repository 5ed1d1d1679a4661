"""Whether ``auto`` is ever slower than everything off: the same training with both, preparation counted.

    python benchmarks/auto.py --quick                                 # corners of the grid, about five minutes
    python benchmarks/auto.py --keep auto.jsonl                       # the whole grid, hours; goes on where it was
    python benchmarks/auto.py --questions 1,2 --image-tokens 64 --epochs 1 --pictures 2

The grid: questions a picture, image tokens, a ``small`` llm behind a small encoder or a ``large`` one behind a ViT-B,
epochs, and pictures (two are one step an epoch: a short run). Arms: ``auto``, the settings as they are when nobody sets
them, and ``off``, every switch off (the head at every position, as a plain loop has it). With ``--head answers`` the
head of ``off`` runs where labels are, so that what remains are the decisions about rows and features alone.

Timed: the whole of making the trainer and ``fit()``: pictures, tokens, digests, comparisons before step 1, filling of
the feature cache, steps. Both arms train in one process, in turns that change places each round, each time on a fresh
copy of the model, with a fresh processor and an empty cache folder, after a warm-up on other pictures. A ratio is
``auto / off`` within a round, in seconds of the processor (in which other work on the machine does not count) and of
the clock; a shape's is the median over rounds. Both arms must have trained on as many answer tokens, and their first
losses agree to 1e-3. Asked for: at most 1.05 everywhere. LoRA of rank 16, float32, two pictures a step.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from common import (
    circumstances,
    heading,
    progress,
    run_script,
    script_parser,
    spawn,
    split_names,
    split_numbers,
    table,
    workshop,
)
from setting import PATCH, Shape

ARMS = ("auto", "off")
ASKED = 1.05
TOLERANCE = 1e-3
MODELS = {
    "small": Shape(tower="small", layers=2, width=256, vocabulary=8_000),
    "large": Shape(tower="vit-b", layers=6, width=768, vocabulary=32_000),
}
EACH = 2
"""Pictures a step."""

QUICK = (
    (1, 64, "small", 1, 2),
    (2, 64, "small", 1, 2),
    (2, 64, "small", 1, 8),
    (10, 64, "small", 2, 4),
    (2, 576, "small", 1, 2),
    (1, 576, "small", 2, 2),
    (1, 576, "small", 10, 2),
    (1, 64, "large", 2, 2),
    (1, 64, "large", 10, 2),
)
"""Questions, image tokens, model, epochs and pictures of the corners."""

Point = tuple[int, int, str, int, int]


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="corners only")
    parser.add_argument("--questions", type=split_numbers, default=(1, 2, 5, 10), help="default 1,2,5,10")
    parser.add_argument("--image-tokens", type=split_numbers, default=(64, 256, 576, 2304), help="squares")
    parser.add_argument("--models", type=split_names, default=tuple(MODELS), help=f"default {','.join(MODELS)}")
    parser.add_argument("--epochs", type=split_numbers, default=(1, 2, 10), help="default 1,2,10")
    parser.add_argument("--pictures", type=split_numbers, default=(2, 8), help="even; default 2,8")
    parser.add_argument("--head", choices=("full", "answers"), default="full", help="of the arm off (default full)")
    parser.add_argument("--keep", type=Path, help="a file with a line a shape; what stands there is not run again")
    run_script(parser, run_point, measure, as_text, rounds=3, threads=1)


def points(options: argparse.Namespace) -> list[Point]:
    """What is to be run, the cheap ones first.

    Raises:
        SystemExit: An odd number of pictures, or image tokens that no square picture gives.
    """
    if options.quick:
        return list(QUICK)
    for count in options.pictures:
        if count % EACH:
            raise SystemExit(f"{count} pictures do not fill steps of {EACH}")
    for tokens in options.image_tokens:
        if round(tokens**0.5) ** 2 != tokens:
            raise SystemExit(f"no square picture has {tokens} image tokens")
    grid = product(options.questions, options.image_tokens, options.models, options.epochs, options.pictures)
    return sorted(
        grid, key=lambda point: point[0] * point[1] * point[3] * point[4] * (10 if point[2] == "large" else 1)
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every point that is not kept yet, and all that are."""
    task = {"threads": options.threads, "rounds": options.rounds, "head": options.head}
    kept: dict[str, Any] = {}
    if options.keep is not None and options.keep.exists():
        lines = options.keep.read_text(encoding="utf-8").splitlines()
        kept = {json.dumps(found["point"]): found for found in map(json.loads, lines)}
    rows = []
    for point in points(options):
        name = json.dumps(list(point))
        if name not in kept:
            found = {"point": list(point), **spawn(__file__, {**task, "point": point}, threads=options.threads)}
            kept[name] = found
            progress(f"{name}: {found['ratio']:.3f} of the processor, {found['clock']:.3f} of the clock")
            if options.keep is not None:
                with options.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
        rows.append(kept[name])
    return {**circumstances(options, task), "shapes": rows, "worst": max(rows, key=lambda row: float(row["ratio"]))}


def run_point(task: dict[str, Any]) -> dict[str, Any]:
    """Both arms at one point in this process, in turns."""
    import torch
    from arms import OFF, Job, ours
    from setting import build, make_examples

    from holdfast.models.anatomy import resolve_anatomy
    from holdfast.models.chat import ChatProcessor
    from holdfast.models.loading import Loaded

    torch.set_num_threads(task["threads"])
    questions, tokens, model, epochs, pictures = task["point"]
    shape = replace(MODELS[model], image=round(tokens**0.5) * PATCH)
    if task.get("shape"):
        shape = Shape(**task["shape"])
    speeds: dict[str, dict[str, Any]] = {"auto": {}, "off": OFF | {"head": task["head"]}}
    with workshop("auto") as folder:
        base = build(shape)
        made = {
            name: tuple(make_examples(shape, folder, images=count, questions=questions, name=name))
            for name, count in (("warm", EACH), ("train", pictures))
        }

        def train(arm: str, part: str, count: int, cache: str) -> Any:
            twin = copy.deepcopy(base.model)  # what was shown on one model is not shown on the next
            loaded = Loaded(base.name, twin, ChatProcessor(base.chat.processor), resolve_anatomy(twin))
            home = folder / cache
            home.mkdir()
            return ours(loaded, Job(made[part], EACH * questions, epochs=count), speeds[arm], cache=str(home))

        for arm in ARMS:
            train(arm, "warm", 1, f"warm-{arm}")
        rounds = []
        for number in range(task["rounds"]):
            order = ARMS if number % 2 == 0 else ARMS[::-1]
            rounds.append({arm: train(arm, "train", epochs, f"{arm}-{number}") for arm in order})
    for one in rounds:
        check(one["auto"], one["off"])
    ratios = {
        name: [getattr(one["auto"], part) / getattr(one["off"], part) for one in rounds]
        for name, part in (("ratio", "processor"), ("clock", "seconds"))
    }
    return {
        **{name: statistics.median(found) for name, found in ratios.items()},
        "range": [round(min(ratios["ratio"]), 3), round(max(ratios["ratio"]), 3)],
        **{arm: statistics.median(one[arm].processor for one in rounds) for arm in ARMS},
        "engaged": rounds[0]["auto"].engaged,
    }


def check(auto: Any, off: Any) -> None:
    """The arms did the same.

    Raises:
        SystemExit: Another number of answer tokens, or another first loss.
    """
    if auto.supervised != off.supervised:
        raise SystemExit(f"auto trained on {auto.supervised} answer tokens, off on {off.supervised}")
    if abs(auto.losses[0] - off.losses[0]) > TOLERANCE:
        raise SystemExit(f"the first loss is {auto.losses[0]} with auto and {off.losses[0]} with everything off")


def as_text(report: dict[str, Any]) -> str:
    """A table for reading, the worst shape below it."""
    header = ["questions", "tokens", "llm", "epochs", "pictures", "off s", "auto s", "ratio", "range", "clock", "on"]
    rows = []
    for row in report["shapes"]:
        on = [name for name, said in row["engaged"].items() if name in SHOWN and "'on': True" in said]
        numbers = [row[key] for key in ("off", "auto", "ratio", "range", "clock")]
        rows.append([*row["point"], *numbers, ", ".join(on) or "-"])
    worst = report["worst"]
    verdict = "within" if worst["ratio"] <= ASKED else "ABOVE"
    last = f"worst: {worst['ratio']:.3f} at {worst['point']}, {verdict} the {ASKED} asked for"
    return "\n".join([*heading(report), "", *table(header, rows), "", last])


SHOWN = ("share_images", "feature_cache", "packing")


if __name__ == "__main__":
    main()

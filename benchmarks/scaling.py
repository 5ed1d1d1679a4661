"""How the cost of training grows, beside the floor that counting operations gives.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --sweeps questions,images --rounds 3

One thing varies at a time: questions a picture (1, 2, 5, 10), image tokens (64, 256, 576, 2304), vocabulary (32,000 and
151,936), number of pictures (8, 16, 32). Arms: ``plain`` (Holdfast without sharing and cache: every question is a row
with the picture in it) and ``ours`` (every speed-up). The floor is the work that training cannot do without, see
``floors.py``, over the rate of a matrix product of 2048 x 2048 that the same process measures just before.

The model is small by default (a four-layer encoder, an llm of 4 layers of width 512), so that the whole sweep takes
minutes; the flags give another. One epoch, LoRA of rank 16, float32. Timed: the whole call of ``fit()``: pictures,
tokens, filling the cache, steps. Not timed: building the model, and one warm-up step on another picture. Each point
runs in a fresh process once a round, arms interleaved; seconds are medians over rounds, ratios are medians of the
ratio within a round. ``x floor`` is measured over floor: how far from the machine's rate the arm stays. Everything
that is no matrix product (norms, softmaxes, the optimizer, Python, decoding pictures) counts against it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from common import (
    circumstances,
    heading,
    matrix_rate,
    median,
    play,
    progress,
    ratio,
    run_script,
    script_parser,
    spawn,
    split_names,
    split_numbers,
    table,
    workshop,
)
from setting import PATCH, Shape, shape_arguments, shape_of

ARMS = ("plain", "ours")
MATRIX = 2048
SWEEPS = ("questions", "image_tokens", "vocabulary", "images")


def main() -> None:
    parser = script_parser(__doc__)
    shape_arguments(parser, tower="small", layers=4, width=512)
    parser.add_argument("--sweeps", type=split_names, default=SWEEPS, help=f"of {', '.join(SWEEPS)}; default: all")
    parser.add_argument("--questions", type=split_numbers, default=(1, 2, 5, 10), help="values of the sweep")
    parser.add_argument(
        "--image-tokens", type=split_numbers, default=(64, 256, 576, 2304), help="squares of whole numbers"
    )
    parser.add_argument("--vocabularies", type=split_numbers, default=(32000, 151_936), help="values of the sweep")
    parser.add_argument("--images", type=split_numbers, default=(8, 16, 32), help="values of the sweep")
    parser.add_argument("--usual-questions", type=int, default=5, help="where another thing varies (default 5)")
    parser.add_argument("--usual-images", type=int, default=4, help="where another thing varies (default 4)")
    run_script(parser, run_arm, measure, as_text)


def points(options: argparse.Namespace) -> list[tuple[str, int, dict[str, Any]]]:
    """Sweep, value and task of each point.

    Raises:
        SystemExit: An unknown sweep, or a number of image tokens that no square picture gives.
    """
    shape = shape_of(options)
    usual = {"questions": options.usual_questions, "images": options.usual_images, "threads": options.threads}
    usual["matrix"] = MATRIX
    found = []
    for sweep in options.sweeps:
        if sweep == "questions":
            made = [(value, shape, {"questions": value}) for value in options.questions]
        elif sweep == "images":
            made = [(value, shape, {"images": value}) for value in options.images]
        elif sweep == "vocabulary":
            made = [(value, replace(shape, vocabulary=value), {}) for value in options.vocabularies]
        elif sweep == "image_tokens":
            made = [(value, replace(shape, image=_side(value)), {}) for value in options.image_tokens]
        else:
            raise SystemExit(f"there is no sweep '{sweep}'; known: {', '.join(SWEEPS)}")
        found += [(sweep, value, {**usual, **change, "shape": vars(one)}) for value, one, change in made]
    return found


def _side(tokens: int) -> int:
    root = round(tokens**0.5)
    if root * root != tokens:
        raise SystemExit(f"no square picture has {tokens} image tokens; {root * root} would do")
    return root * PATCH


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every point, all rounds."""
    rows = []
    for sweep, value, task in points(options):
        progress(f"{sweep} {value}")

        def run(arm: str, task: dict[str, Any] = task) -> dict[str, Any]:
            return spawn(__file__, {**task, "arm": arm}, threads=options.threads)

        rounds = play(options.rounds, ARMS, run)
        row: dict[str, Any] = {"sweep": sweep, "value": value}
        row["floor"] = median(rounds, "ours", "floor")
        for arm in ARMS:
            row[arm] = median(rounds, arm, "each")
            row[f"{arm}_over_floor"] = median(rounds, arm, "over_floor")
        row["times_plain"] = ratio(rounds, "plain", "ours", "each")
        row["gflops_per_example"] = rounds[0]["ours"]["operations"] / 1e9
        row["rate_gflops"] = median(rounds, "ours", "rate") / 1e9
        rows.append(row)
    usual = {name: getattr(options, name) for name in ("usual_questions", "usual_images")}
    told = {"shape": vars(shape_of(options)), **usual}
    return {**circumstances(options, told), "rows": rows}


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """One arm at one point in this process."""
    import torch
    from arms import Job, run
    from floors import count, lengths
    from setting import build, make_examples

    torch.set_num_threads(task["threads"])
    shape, k = Shape(**task["shape"]), task["questions"]
    arm = {"plain": "ours_plain", "ours": "ours"}[task["arm"]]
    with workshop("scaling") as folder:
        loaded = build(shape)
        caches = [folder / "cache-warm", folder / "cache"]
        for cache in caches:
            cache.mkdir()
        warm = make_examples(shape, folder, images=1, questions=k, name="warm")
        made = make_examples(shape, folder, images=task["images"], questions=k)
        run(arm, loaded, Job(tuple(warm), k), cache=str(caches[0]))
        rate = matrix_rate(task["matrix"], seconds=0.5 * (task["matrix"] == MATRIX))
        timed = run(arm, loaded, Job(tuple(made), k), cache=str(caches[1]))
        operations = 0.0
        for begin in range(0, len(made), k):
            prefix, branches, supervised = lengths(loaded, made[begin : begin + k], shape)
            operations += count(shape, branches, supervised, prefix=prefix)["total"]
    each, floor = timed.seconds / len(made), operations / len(made) / rate
    return {
        "each": each,
        "floor": floor,
        "over_floor": each / floor,
        "rate": rate,
        "operations": operations / len(made),
        "supervised": timed.supervised,
    }


def as_text(report: dict[str, Any]) -> str:
    """A table for reading: seconds per supervised example."""
    header = ["sweep", "value", "GFLOP", "floor s", "plain s", "x floor", "ours s", "x floor", "plain / ours"]
    keys = ["sweep", "value", "gflops_per_example", "floor", "plain", "plain_over_floor", "ours", "ours_over_floor"]
    rows = [[row[key] for key in [*keys, "times_plain"]] for row in report["rows"]]
    rates = sorted(row["rate_gflops"] for row in report["rows"])
    rate = f"measured rate of a 2048 x 2048 product: {rates[0]:.0f} to {rates[-1]:.0f} GFLOP/s"
    return "\n".join([*heading(report), rate, "per supervised example:", "", *table(header, rows)])


if __name__ == "__main__":
    main()

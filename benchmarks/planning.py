"""What ``holdfast plan`` says of a step, beside what the step takes here: seconds and memory.

    python benchmarks/planning.py                                  # all shapes
    python benchmarks/planning.py --shapes full,long --rounds 1

A plan counts operations, and turns them into seconds by a rate that somebody states. Here the rate is measured on one
shape (``base``: LoRA on a small llm), in the same round and just beside the others, and every other shape's seconds
follow from its counted operations alone. So what is held against the clock is whether operations predict time from one
recipe and shape to another: ``wide`` (a wider llm), ``long`` (more image tokens), ``full`` (all weights of the llm
train), ``sparse`` (a 5 % mask), ``encoder`` (a large frozen image encoder in front of a small llm).

The step is the plain one that a plan counts: neither shared rows nor stored features, the head where labels are.
Seconds are processor time of a step, the median of those after the first. Memory is the highest resident size during
two steps less the resident size before the model was made (libraries warm, an allocator that gives freed memory back at
once), in a process of its own because that allocator is slow. Every process is fresh; float32. Asked for: time within
25 %, memory within 10 %.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import statistics
from typing import Any

from common import (
    MIB,
    circumstances,
    forget_highest,
    heading,
    highest,
    median,
    play,
    progress,
    resident,
    run_script,
    script_parser,
    spawn,
    split_names,
    table,
    workshop,
)
from setting import Shape

LORA: dict[str, Any] = {"r": 16, "alpha": 32, "dropout": 0.0}
SMALL: dict[str, Any] = {"tower": "small", "image": 224, "layers": 6, "width": 512, "vocabulary": 32_000}
SHAPES: dict[str, tuple[dict[str, Any], str, dict[str, Any], int]] = {
    "base": (SMALL, "lora", LORA, 4),
    "wide": (SMALL | {"layers": 4, "width": 1024}, "lora", LORA, 4),
    "long": (SMALL | {"image": 448, "layers": 4}, "lora", LORA, 2),
    "full": (SMALL, "full", {}, 4),
    "sparse": (SMALL, "random_mask", {"ratio": 0.05, "modules": ["attention", "mlp"]}, 4),
    "encoder": (SMALL | {"tower": "vit-b", "image": 336, "layers": 2}, "lora", LORA, 2),
}
"""By name: sizes of the model, method of the llm, its options, rows of a step."""

STEPS = 4


def main() -> None:
    parser = script_parser(__doc__)
    others = tuple(name for name in SHAPES if name != "base")
    parser.add_argument("--shapes", type=split_names, default=others, help=f"default: {','.join(others)}")
    run_script(parser, run_arm, measure, as_text, rounds=3, threads=1)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and each shape's plan over its measurement."""
    unknown = [name for name in options.shapes if name not in SHAPES]
    if unknown:
        raise SystemExit(f"there is no shape '{unknown[0]}' here; known: {', '.join(SHAPES)}")
    arms = ("base", *(name for name in options.shapes if name != "base"))
    task = {"threads": options.threads}

    def run(arm: str) -> dict[str, Any]:
        timed = spawn(__file__, {**task, "arm": arm, "what": "time"}, threads=options.threads)
        held = spawn(__file__, {**task, "arm": arm, "what": "memory"}, threads=options.threads, tight=True)
        return timed | held

    rounds = play(options.rounds, arms, run, progress)
    for one in rounds:
        rate = one["base"]["operations"] / one["base"]["seconds"]
        for found in one.values():
            found["planned_seconds"] = found["operations"] / rate
            found["time"] = found["planned_seconds"] / found["seconds"]
            found["memory"] = found["planned_peak"] / found["peak"]
    rows = {}
    for arm in arms:
        rows[arm] = {
            "gflop": rounds[0][arm]["operations"] / 1e9,
            **{name: median(rounds, arm, name) for name in ("planned_seconds", "seconds", "time")},
            "time_range": [round(pick(one[arm]["time"] for one in rounds), 3) for pick in (min, max)],
            "planned_mib": rounds[0][arm]["planned_peak"] / MIB,
            "peak_mib": median(rounds, arm, "peak") / MIB,
            "memory": median(rounds, arm, "memory"),
        }
    return {**circumstances(options, task), "shapes": rows, "rounds": rounds}


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """One shape in this process: what is planned, and seconds of a step or the peak of two."""
    import torch
    from setting import make_examples

    torch.set_num_threads(task["threads"])
    sizes, method, chosen, batch = SHAPES[task["arm"]]
    shape = Shape(**sizes)
    with workshop("planning") as folder:
        if task["what"] == "time":
            loaded, timed = train(shape, method, chosen, folder, batch=batch, steps=STEPS)
            ends = [0.0, *timed.processor_marks]
            gaps = [end - begin for begin, end in itertools.pairwise(ends)]
            found: dict[str, Any] = {"seconds": statistics.median(gaps[1:])}
        else:
            toy = Shape(tower="tiny", image=28, layers=1, width=64, vocabulary=100)
            train(toy, method, chosen, folder, batch=2, steps=1)
            gc.collect()
            before = resident()
            loaded, _ = train(shape, method, chosen, folder, batch=batch, steps=2, forget=True)
            found = {"peak": highest() - before}
        made = make_examples(shape, folder, images=batch, questions=1)
        encoded = loaded.chat.encode(made, with_answers=True)
        found |= planned(shape, method, chosen, folder, encoded)
    return found


def train(
    shape: Shape, method: str, chosen: dict[str, Any], folder: Any, *, batch: int, steps: int, forget: bool = False
) -> tuple[Any, Any]:
    """The model and its timed training on the same pictures ``steps`` times."""
    from arms import SPEEDS, Job, ours
    from setting import build, make_examples

    loaded = build(shape)
    made = make_examples(shape, folder, images=batch, questions=1)
    if forget:
        forget_highest()
    job = Job(tuple(made), batch, epochs=steps, method=method, options=chosen, lr=1e-5)
    return loaded, ours(loaded, job, SPEEDS["ours_plain"])


def planned(shape: Shape, method: str, chosen: dict[str, Any], folder: Any, encoded: Any) -> dict[str, Any]:
    """The plan of that step: operations and peak memory."""
    from setting import llava_config

    from holdfast.config.loading import load_config
    from holdfast.planning.plan import make_plan

    home = folder / "shape"
    llava_config(shape).save_pretrained(home)
    labels = (encoded["labels"][:, 1:] != -100).sum(dim=1)
    plan = make_plan(
        load_config({"model": str(home), "tune": {"llm": {"method": method, **chosen}}}),
        batch=encoded["input_ids"].shape[0],
        length=encoded["input_ids"].shape[1],
        answer=max(1, round(float(labels.float().mean()))),
        precision="fp32",
    )
    parts = plan.memory.to_json()
    return {"operations": plan.flops.step, "planned_peak": plan.memory.peak, "parts": parts}


def as_text(report: dict[str, Any]) -> str:
    """A table for reading."""
    header = ["shape", "GFLOP", "plan s", "step s", "plan / step", "range", "plan MiB", "peak MiB", "plan / peak"]
    keys = ["gflop", "planned_seconds", "seconds", "time", "time_range", "planned_mib", "peak_mib", "memory"]
    rows = [[name, *(row[key] for key in keys)] for name, row in report["shapes"].items()]
    return "\n".join([*heading(report), "", *table(header, rows)])


if __name__ == "__main__":
    main()

"""Rows of different images behind each other in one row, beside padded rows: a long-tailed mix of questions.

    python benchmarks/filling.py
    python benchmarks/filling.py --median 60 --spread 0.5 --layers 4 --width 512

One question a picture, so nothing is shared; the words of a question are drawn from a lognormal distribution (most are
short, a few very long), so a batch is padded to its longest row. Arms: ``on`` and ``auto`` of ``speed.packing``, and
``padded`` (off); everything else as nobody sets it, the feature cache off. Timed as in ``auto.py``: the whole call, in
seconds of the processor, all arms in one process in turns, each time on a fresh copy of the model; ratios are medians
over rounds of the ratio within a round. The arms must see as many answer tokens and agree in the first loss to 1e-3.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from typing import Any

from common import (
    circumstances,
    heading,
    median,
    play,
    ratio,
    run_script,
    script_parser,
    spawn,
    spread,
    table,
    workshop,
)
from setting import SPECIAL, Shape, shape_arguments, shape_of

ARMS = ("on", "auto", "padded")
TOLERANCE = 1e-3


def main() -> None:
    parser = script_parser(__doc__)
    shape_arguments(parser, tower="tiny", image=112, layers=4, width=256, vocabulary=8_000)
    parser.add_argument("--batch", type=int, default=8, help="pictures a step (default 8)")
    parser.add_argument("--steps", type=int, default=24, help="default 24; auto looks at padding from 20 on")
    parser.add_argument("--median", type=float, default=30, help="words of a question (default 30)")
    parser.add_argument("--spread", type=float, default=1.2, help="deviation of their logarithm (default 1.2)")
    run_script(parser, run_arms, measure, as_text, rounds=3, threads=1)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both arms in one process, in turns, and what they come to."""
    names = ("batch", "steps", "median", "spread", "threads", "rounds")
    task = {**{name: getattr(options, name) for name in names}, "shape": vars(shape_of(options))}
    found = spawn(__file__, task, threads=options.threads)
    return {**circumstances(options, task), **summarise(found)}


def run_arms(task: dict[str, Any]) -> dict[str, Any]:
    """All arms and rounds in this process."""
    import torch
    from arms import Job, ours
    from setting import build

    from holdfast.models.anatomy import resolve_anatomy
    from holdfast.models.chat import ChatProcessor
    from holdfast.models.loading import Loaded

    torch.set_num_threads(task["threads"])
    shape = Shape(**task["shape"])
    with workshop("filling") as folder:
        base = build(shape)
        made = long_tailed(shape, folder, task)

        def train(arm: str, steps: int) -> dict[str, Any]:
            twin = copy.deepcopy(base.model)
            loaded = Loaded(base.name, twin, ChatProcessor(base.chat.processor), resolve_anatomy(twin))
            speed = {"packing": "off" if arm == "padded" else arm, "feature_cache": "off"}
            timed = ours(loaded, Job(tuple(made[: steps * task["batch"]]), task["batch"]), speed)
            return {
                "processor": timed.processor,
                "loss": timed.losses[0],
                "supervised": timed.supervised,
                "packing": timed.engaged["packing"],
            }

        for arm in ARMS:
            train(arm, 1)
        rounds = play(task["rounds"], ARMS, lambda arm: train(arm, task["steps"]))
        share = padded_share(base, made, task["batch"])
    check(rounds)
    return {"rounds": rounds, "padding": share}


def long_tailed(shape: Shape, folder: Any, task: dict[str, Any]) -> list[Any]:
    """A question a picture, with as many words as a lognormal distribution draws."""
    import numpy as np
    from setting import make_examples

    from holdfast.data.examples import Turn

    rng = np.random.default_rng(1)
    found = []
    for example in make_examples(shape, folder, images=task["steps"] * task["batch"], questions=1):
        count = int(np.clip(np.exp(rng.normal(np.log(task["median"]), task["spread"])), 1, 1500))
        words = " ".join(f"w{i}" for i in rng.integers(len(SPECIAL), shape.vocabulary, count))
        found.append(replace(example, turns=(Turn(words, example.turns[0].answers),)))
    return found


def padded_share(loaded: Any, examples: list[Any], batch: int) -> float:
    """The share of the padded batches that holds no token."""
    held = taken = 0
    for begin in range(0, len(examples), batch):
        kept = loaded.chat.encode(examples[begin : begin + batch], with_answers=True)["attention_mask"]
        held, taken = held + int(kept.sum()), taken + kept.numel()
    return 1 - held / taken


def check(rounds: Any) -> None:
    """The arms did the same.

    Raises:
        SystemExit: Another first loss, or another number of answer tokens.
    """
    for one in rounds:
        for arm, found in one.items():
            same = abs(found["loss"] - one["padded"]["loss"]) <= TOLERANCE
            if not same or found["supervised"] != one["padded"]["supervised"]:
                raise SystemExit(f"{arm} trained on other tokens, or to another loss, than padded rows")


def summarise(found: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each arm, and over padded rows."""
    rounds = found["rounds"]
    arms = {
        arm: {
            "seconds": median(rounds, arm, "processor"),
            "over_padded": ratio(rounds, arm, "padded", "processor"),
            "range": spread(rounds, arm, "padded", "processor"),
            "packing": rounds[0][arm]["packing"],
        }
        for arm in ARMS
    }
    return {"padding": found["padding"], "arms": arms, "rounds": rounds}


def as_text(report: dict[str, Any]) -> str:
    """A table for reading."""
    rows = [[arm, *(row[key] for key in ("seconds", "over_padded", "range"))] for arm, row in report["arms"].items()]
    said = [f"{arm}: {row['packing']}" for arm, row in report["arms"].items()]
    lines = [*heading(report), f"padding of padded batches: {report['padding']:.0%}", ""]
    return "\n".join([*lines, *table(["arm", "s", "/ padded", "range"], rows), "", *said])


if __name__ == "__main__":
    main()

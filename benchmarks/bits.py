"""What it costs to have the same bits on every x86-64 processor: MKL in its strict mode beside MKL as it comes.

    python benchmarks/bits.py

Two arms, each a fresh process once a round: ``strict`` (what ``import holdfast`` asks for) and ``usual`` (torch has
multiplied before the package came, so that MKL works as it does elsewhere). Both time the same work in seconds of
processor time, which a busy machine changes little: forward and backward of a linear layer 4096 x 1024 on 512 rows
(``layer``), products 1024 x 1024 (``square``), 20,000 products 32 x 128 x 128, where the call weighs most (``small``),
and training steps of the pocket model, LoRA on all components (``steps``). Figures are medians over rounds, and the
median of the ratio within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from common import circumstances, common_arguments, heading, median, play, progress, ratio, spawn, spread, table

PARTS = ("layer", "square", "small", "steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    common_arguments(parser, rounds=7, threads=1)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(**json.loads(options.child))))
        return
    os.environ.pop("MKL_CBWR", None)
    rounds = play(
        options.rounds,
        ("strict", "usual"),
        lambda arm: spawn(__file__, {"arm": arm}, threads=options.threads),
        progress,
    )
    report: dict[str, Any] = {**circumstances(options, {"arms": "strict, usual"}), "rounds": rounds}
    if options.json:
        print(json.dumps(report, indent=1))
        return
    rows = [
        [part, *(median(rounds, arm, part) for arm in ("strict", "usual")), ratio(rounds, "strict", "usual", part),
         spread(rounds, "strict", "usual", part)] for part in PARTS
    ]  # fmt: skip
    print("\n".join([*heading(report), "", *table(("part", "strict s", "usual s", "strict / usual", "range"), rows)]))
    print(f"same bits: strict {rounds[0]['strict']['bits']}, usual {rounds[0]['usual']['bits']}")


def child(arm: str) -> dict[str, Any]:
    """Seconds of each part."""
    import torch

    if arm == "usual":
        torch.ones(64, 64) @ torch.ones(64, 64)  # now MKL has read its settings
    from holdfast.machine import bits

    found: dict[str, Any] = {"bits": bits().same}
    generator = torch.Generator().manual_seed(0)
    x, layer = torch.randn(512, 1024, generator=generator), torch.nn.Linear(1024, 4096)
    square, rows, small = (torch.randn(*shape, generator=generator) for shape in ((1024, 1024), (32, 128), (128, 128)))

    def train(count: int) -> None:
        for _ in range(count):
            layer(x).square().mean().backward()

    def multiply(count: int, left: torch.Tensor, right: torch.Tensor) -> None:
        for _ in range(count):
            left @ right

    for part, work in {
        "layer": lambda: train(10),
        "square": lambda: multiply(20, square, square),
        "small": lambda: multiply(20_000, rows, small),
        "steps": steps(20),
    }.items():
        begun = time.process_time()
        work()
        found[part] = time.process_time() - begun
    return found


def steps(count: int) -> Any:
    """Training steps of the pocket model, ready to be timed."""
    from pathlib import Path

    from holdfast.config.loading import load_config
    from holdfast.config.schema import TaskSpec
    from holdfast.methods.recipe import Recipe
    from holdfast.models.loading import load_model
    from holdfast.tasks.resolve import resolve_task
    from holdfast.training.loop import Trainer

    lora = {"method": "lora", "r": 8, "lr": 1e-3}
    config = load_config(
        {"tune": {"vision": lora, "connector": lora, "llm": lora}, "train": {"steps": count, "batch_size": 16}}
    )
    loaded = load_model("pocket")
    recipe = Recipe(config)
    recipe.attach(loaded, 0)
    task = resolve_task(TaskSpec(data="pocket:digits"), base=Path(), seed=0).task
    trainer = Trainer(loaded, recipe, config.train, tuple(task.train[:500]), (), seed=0, speed=config.speed)
    return trainer.fit


if __name__ == "__main__":
    main()

"""How long a step waits for its batch: Holdfast's workers beside transformers' Trainer's, with a clock for a model.

    python benchmarks/loading.py                                        # the grid below
    python benchmarks/loading.py --workers 0,1,2,4,8 --step 0.1,0.5,2 --side 336,1024,3000
    python benchmarks/loading.py --arms ours --side 3000                # without the peer

The model is replaced by a clock: a step sleeps for a given time, as a processor does that waits for a GPU. Everything
in front of it is real: PNG files of a given side are opened, decoded, resized to 336 pixels and normalised by CLIP's
processor, questions are rendered and tokenized, batches are padded. Each picture has one question, so nothing is
shared.

Arms: ``ours`` (``speed.workers``) and ``trainer`` (transformers' Trainer with ``dataloader_num_workers`` and a collator
written by hand; its model is a module that sleeps, its optimizer has one value, its data set is one long pass).
Before anything is timed the arms are checked to prepare the same: as many supervised tokens, and pixels with the same
sum, over all examples.

For every arm, side, number of workers and step: ``waiting`` is the time from the end of a step to the beginning of the
next, as a share of the clock, on the mean of the steps behind the first ``workers + 2``, in which the workers fill up.
``batches/s`` is what comes of the clock and that. ``preparing`` is the time that one batch took in the workers of
``ours`` while they ran (in this process where there are none), with whatever else the machine did. Nothing has to wait
where that is less than step x workers: those cells are marked ``*``, and 5 % was asked for there. ``processor`` is the
processor time of one batch. ``MiB a worker`` is what workers hold for themselves at the end (pages that they share with
the first process are not counted).
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import (
    MIB,
    circumstances,
    heading,
    play,
    progress,
    run_script,
    script_parser,
    spawn,
    split_names,
    split_numbers,
    table,
    workshop,
)
from setting import Shape

ASKED = 0.05
ARMS = ("ours", "trainer")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--workers", type=split_numbers, default=(0, 1, 2), help="numbers of them (default 0,1,2)")
    parser.add_argument("--step", type=_seconds, default=(0.2, 0.8), help="seconds of the clock (default 0.2,0.8)")
    parser.add_argument("--side", type=split_numbers, default=(336, 1024), help="of the pictures (default 336,1024)")
    parser.add_argument("--batch", type=int, default=8, help="pictures a step (default 8)")
    parser.add_argument("--images", type=int, default=64, help="pictures in all (default 64)")
    parser.add_argument("--steps", type=int, default=12, help="counted steps a cell (default 12)")
    parser.add_argument("--arms", type=split_names, default=ARMS, help="default ours,trainer")
    run_script(parser, run_arm, measure, as_text, rounds=3, threads=1)


def _seconds(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in split_names(text))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and the median of every cell."""
    names = ("workers", "step", "side", "batch", "images", "steps")
    task = {name: getattr(options, name) for name in names}
    rounds = play(
        options.rounds,
        tuple(options.arms),
        lambda arm: spawn(__file__, {**task, "arm": arm}, threads=options.threads),
        progress,
    )
    check(rounds)
    return {**circumstances(options, task), "cells": summarise(rounds), "rounds": rounds}


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """All cells of one arm in this process."""
    import torch
    from setting import build, make_examples

    shape = Shape(**{"tower": "tiny", "layers": 1, "width": 64, "vocabulary": 32000, **task.get("shape", {})})
    torch.set_num_threads(1)
    cells, made = [], {}
    with workshop("loading") as folder:
        loaded = build(shape)
        for side in task["side"]:
            drawn = replace(shape, image=side)
            examples = make_examples(drawn, folder, images=task["images"], questions=1, name=f"side{side}")
            processor, made[str(side)] = prepared(task["arm"], loaded, examples, task["batch"])
            for workers in task["workers"]:
                for step in task["step"]:
                    clock = Clock(step, skip=workers + 2, count=task["steps"])
                    LOOPS[task["arm"]](loaded, examples, task["batch"], workers, clock)
                    cell = {"side": side, "workers": workers, "step": step, "processor": processor}
                    cells.append(cell | clock.facts())
    return {"cells": cells, "made": made}


class Clock:
    """The step that stands in for a model's; it notes how long each waited, and what the workers hold at the last one.

    Attributes:
        preparing: Seconds that each batch took, where an arm tells.
    """

    def __init__(self, seconds: float, *, skip: int, count: int) -> None:
        self.seconds, self.skip, self.steps = seconds, skip, skip + count
        self.waits: list[float] = []
        self.preparing: list[float] = []
        self.memory = 0.0
        self._end = time.perf_counter()

    def tick(self) -> None:
        """One step."""
        self.waits.append(time.perf_counter() - self._end)
        time.sleep(self.seconds)
        if len(self.waits) == self.steps:
            self.memory = held_by_workers()
        self._end = time.perf_counter()

    def facts(self) -> dict[str, float]:
        """Of the counted steps."""
        if len(self.waits) != self.steps:
            raise SystemExit(f"{len(self.waits)} steps instead of {self.steps}")
        wait = statistics.mean(self.waits[self.skip :])
        found = {"waiting": wait / self.seconds, "per_second": 1 / (self.seconds + wait), "memory": self.memory}
        return found | ({"preparing": statistics.mean(self.preparing[self.skip :])} if self.preparing else {})


def prepared(arm: str, loaded: Any, examples: Sequence[Any], batch: int) -> tuple[float, list[float]]:
    """Seconds of processor time a batch, and what was prepared: supervised tokens and the sum of all pixels."""
    from arms import plain_collator

    from holdfast.speed.sharing.batcher import Batcher

    def ours(part: Sequence[Any]) -> dict[str, Any]:
        made = Batcher(loaded).prepare(part)
        return {"labels": made.labels, "pixel_values": made.images["pixel_values"]}

    make: Callable[[Sequence[Any]], dict[str, Any]] = ours if arm == "ours" else plain_collator(loaded)
    make(examples[:batch])
    begun, supervised, pixels, count = time.process_time(), 0, 0.0, 0
    for begin in range(0, len(examples), batch):
        encoded = make(examples[begin : begin + batch])
        supervised += int((encoded["labels"] != -100).sum())
        pixels += float(encoded["pixel_values"].double().sum())
        count += 1
    return (time.process_time() - begun) / count, [float(supervised), pixels]


def ours(loaded: Any, examples: Sequence[Any], batch: int, workers: int, clock: Clock) -> None:
    """The batches of Holdfast's loop, as its trainer takes them."""
    from holdfast.speed.ahead import Ahead
    from holdfast.speed.sharing.batcher import Batcher
    from holdfast.training.batches import Stream

    stream, batcher = Stream(examples, batch, 1, 0), Batcher(loaded)

    def make(step: int) -> tuple[float, list[Any]]:
        begun = time.perf_counter()
        made = [batcher.prepare(part) for part in stream.step(step)]
        return time.perf_counter() - begun, made

    with Ahead(make, end=clock.steps, workers=workers, device=loaded.device) as coming:
        for step in range(clock.steps):
            seconds, parts = coming.take(step)
            clock.preparing.append(seconds)
            for part in parts:
                batcher.place(part)
            clock.tick()


def trainer(loaded: Any, examples: Sequence[Any], batch: int, workers: int, clock: Clock) -> None:
    """transformers' Trainer around a module that sleeps."""
    import torch
    from arms import plain_collator
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class Sleeping(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, pixel_values: Any = None, labels: Any = None, **rest: Any) -> dict[str, Any]:
            clock.tick()
            return {"loss": self.weight.sum()}

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=batch, max_steps=clock.steps, report_to="none",
            logging_strategy="no", save_strategy="no", eval_strategy="no", disable_tqdm=True, use_cpu=True, seed=0,
            dataloader_num_workers=workers, dataloader_pin_memory=False, remove_unused_columns=False,
            optim="adamw_torch", train_sampling_strategy="sequential", dataloader_drop_last=True,
        )  # fmt: skip
        # One long pass: it would begin its workers anew with every pass over the pictures, which ours does not.
        data = list(examples) * math.ceil(clock.steps * batch / len(examples))
        peer = Trainer(model=Sleeping(), args=settings, train_dataset=data, data_collator=plain_collator(loaded))
        peer.remove_callback(PrinterCallback)
        peer.train()


LOOPS: dict[str, Callable[..., None]] = {"ours": ours, "trainer": trainer}


def held_by_workers() -> float:
    """MiB that a worker holds for itself on average; 0 without workers."""
    import multiprocessing

    held = []
    for child in multiprocessing.active_children():
        for line in Path(f"/proc/{child.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                held.append(int(line.split()[1]) * 1024 / MIB)
    children = len(multiprocessing.active_children())
    return sum(held) / children if children else 0.0


def check(rounds: Sequence[dict[str, dict[str, Any]]]) -> None:
    """The arms prepare the same.

    Raises:
        SystemExit: Other supervised tokens or other pixels.
    """
    for one in rounds:
        first = next(iter(one.values()))["made"]
        for arm, found in one.items():
            for side, (supervised, pixels) in found["made"].items():
                if supervised != first[side][0] or abs(pixels / first[side][1] - 1) > 1e-6:
                    raise SystemExit(f"{arm}: {supervised} tokens and pixels of {pixels}, elsewhere {first[side]}")


def summarise(rounds: Sequence[dict[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row a cell: the medians over rounds, and ours beside the peer within a round."""
    rows = []
    for place, cell in enumerate(next(iter(rounds[0].values()))["cells"]):
        row = {name: cell[name] for name in ("side", "workers", "step")}
        for arm in rounds[0]:
            found = [one[arm]["cells"][place] for one in rounds]
            for name in ("preparing", "processor", "waiting", "per_second", "memory"):
                if name in found[0]:
                    row[f"{arm}_{name}"] = statistics.median(each[name] for each in found)
        row["free"] = row.get("ours_preparing", math.inf) < row["workers"] * row["step"]
        if {"ours", "trainer"} <= set(rounds[0]):
            rates = [[one[arm]["cells"][place]["per_second"] for arm in ("ours", "trainer")] for one in rounds]
            ratios = [mine / other for mine, other in rates]
            row["ratio"] = statistics.median(ratios)
            row["ratio_range"] = [round(min(ratios), 3), round(max(ratios), 3)]
        rows.append(row)
    return rows


def as_text(report: dict[str, Any]) -> str:
    """The report as a table and one sentence."""
    rows = report["cells"]
    arms = [arm for arm in ARMS if f"{arm}_waiting" in rows[0]]
    header = ["", "side", "workers", "step s", "preparing s", "processor s"]
    for arm in arms:
        header += [f"{arm}: waiting %", "batches/s", "MiB a worker"]
    header += ["ours / trainer", "range"] if "ratio" in rows[0] else []
    lines = []
    for row in rows:
        line = ["*" if row["free"] else "", *(row[name] for name in ("side", "workers", "step"))]
        line += [row.get("ours_preparing"), row[f"{arms[0]}_processor"]]
        for arm in arms:
            line += [100 * row[f"{arm}_waiting"], row[f"{arm}_per_second"], round(row[f"{arm}_memory"])]
        lines.append(line + ([row["ratio"], row["ratio_range"]] if "ratio" in row else []))
    text = [*heading(report), "", *table(header, lines), ""]
    if "ours" in arms:
        free = [row for row in rows if row["free"]]
        good = sum(row["ours_waiting"] <= ASKED for row in free)
        text.append(f"ours waits at most {ASKED:.0%} of a step in {good} of the {len(free)} cells marked *.")
    return "\n".join(text)


if __name__ == "__main__":
    main()

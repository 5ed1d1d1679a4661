"""A LLaVA-1.5 of 7B's shape on one CUDA GPU: speed, memory and answers a second, in less than 25 minutes.

    python benchmarks/gpu.py --out gpu.jsonl              # about 40 GB of GPU memory, 30 GB of disk
    python benchmarks/gpu.py --out gpu.jsonl --minutes 10 # the same file goes on where it was left
    python benchmarks/gpu.py --methods lora --images-per-batch 4 --images 32
    python benchmarks/gpu.py --tiny --device cpu          # the same code on a toy, to see that it runs

Random weights in bfloat16, made on the device: no download. Every arm is a fresh process, and what it measured is
written to ``--out`` as soon as it is there; the same command takes up what is missing, and tries again what failed.
The most telling arms come first. No arm begins that would probably end after ``--minutes``.

**Training** (``METHOD:ARM``): five questions a picture, whole pictures a batch, bfloat16 autocast, frozen encoder,
AdamW, no gradient checkpointing. Methods: ``lora`` (rank 16, attention and MLP of the llm), ``random_mask`` (5 % of
the same matrices; TRL has no such thing, so it stands beside TRL's LoRA), ``layers`` (everything in the last two
blocks). Arms: ``ours`` (every speed-up), ``ours_plain`` (no sharing, no cache), ``trl``. Timed and not timed: as in
``training.py``; the device is waited for at the end of each step. Tokens are those that a plain loop processes (every
question a row with the picture in it, padding left out), in every arm, whatever the arm spares itself. ``share`` is
the work that cannot be done without (``floors.py``: picture once, answers only, encoder once an epoch) over the time
and over the rate of a bfloat16 product of 8192 x 8192 measured in the same process: the same numerator in every arm
of a method. Peak memory is ``torch.cuda.max_memory_allocated`` of the timed part, weights included.

**The rest**: ``memory:bits16`` and ``memory:bits4`` (LoRA with gradient checkpointing, a picture a step; bf16 beside
NF4), ``ask:ours``, ``ask:alone`` (no workers) and ``ask:batch`` (``generate``, left-padded) as in ``evaluation.py``,
``packing:on`` and ``packing:padded`` (a long tail of questions, as in ``filling.py``; which kernels is said),
``workers:auto`` and ``workers:0`` (pictures of 2,048 pixels), ``chat:stream`` (seconds to the first piece of an
answer, tokens a second).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import (
    Rounds,
    circumstances,
    commit,
    heading,
    median,
    progress,
    ratio,
    run_script,
    script_parser,
    spawn,
    split_names,
    spread,
    table,
)
from gpu_parts import METHODS, run_arm
from setting import Shape

SEVEN_B = Shape(
    tower="vit-l", image=336, layers=32, width=4096, inner=11008, heads=32, vocabulary=32064, dtype="bfloat16",
    device="cuda",
)  # fmt: skip
TINY = replace(SEVEN_B, tower="tiny", image=56, layers=3, width=64, inner=128, heads=4, vocabulary=500)
ORDER = (
    "lora:ours", "lora:trl", "memory:bits4", "memory:bits16", "random_mask:ours", "layers:ours", "ask:ours",
    "ask:batch", "layers:trl", "packing:on", "packing:padded", "workers:auto", "workers:0", "chat:stream",
    "lora:ours_plain", "ask:alone", "random_mask:ours_plain", "layers:ours_plain",
)  # fmt: skip
"""Every arm, the most telling first."""

GOALS = (
    ("lora: share of the bfloat16 rate", "lora:ours", "share", None, 0.5, "at least"),
    ("memory of LoRA on four bits / on bfloat16", "memory:bits4", "peak", "memory:bits16", 0.48, "at most"),
    ("memory of a 5 % mask / LoRA", "random_mask:ours", "peak", "lora:ours", 1.25, "at most"),
    ("steps of LoRA, ours / TRL", "lora:ours", "seconds", "lora:trl", 1.0, "at most"),
    ("questions a second, ours / generate in batches", "ask:ours", "per_second", "ask:batch", 1.0, "at least"),
)
"""What was asked for: words, arm, figure, over which other arm, bound."""

BASE = "lora:trl"
LONGEST = 360.0
"""Seconds of an arm before it is ended."""


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("gpu.jsonl"), help="what each arm measured (default gpu.jsonl)"
    )
    parser.add_argument("--minutes", type=float, default=25, help="of this call, at most (default 25)")
    known = tuple(dict.fromkeys(arm.split(":")[0] for arm in ORDER))
    parser.add_argument("--methods", type=split_names, default=known, help=f"default: {','.join(known)}")
    parser.add_argument("--questions", type=int, default=5, help="questions a picture (default 5)")
    parser.add_argument("--images", type=int, default=16, help="pictures of the timed part (default 16)")
    parser.add_argument("--images-per-batch", type=int, default=2, help="default 2, so ten rows a step")
    parser.add_argument("--epochs", type=int, default=2, help="default 2")
    parser.add_argument("--layers", type=int, default=0, help="of the llm, for a smaller card; default: 7B's 32")
    parser.add_argument("--tolerance", type=float, default=0.05, help="of the first step's losses (default 0.05)")
    parser.add_argument("--device", default="cuda", help="default cuda")
    parser.add_argument("--tiny", action="store_true", help="a toy instead of 7B")
    run_script(parser, run_arm, measure, as_text, rounds=1)


def require(device: str, tiny: bool) -> None:
    """Leave with one sentence and exit code 2 where this cannot run."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        sentence = "this benchmark needs a CUDA GPU, and torch sees none; --tiny --device cpu runs the code on a toy"
    elif not device.startswith("cuda") and not tiny:
        sentence = f"a 7B model on '{device}' would take hours a step; give --tiny with --device {device}"
    else:
        return
    print(f"gpu.py: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every arm that is missing, and what all come to."""
    require(options.device, options.tiny)
    arms = [arm for arm in ORDER if arm.split(":")[0] in options.methods]
    unknown = set(options.methods) - {arm.split(":")[0] for arm in ORDER}
    if unknown:
        raise SystemExit(f"there is no method '{min(unknown)}' here; known: {', '.join(METHODS)}, memory, ask, ...")
    if options.images % options.images_per_batch:
        raise SystemExit("--images must be a multiple of --images-per-batch, so that every step is whole pictures")
    shape = replace(TINY if options.tiny else SEVEN_B, device=options.device)
    if options.layers:
        shape = replace(shape, layers=options.layers)
    task = {name: getattr(options, name) for name in ("questions", "images", "images_per_batch", "epochs", "threads")}
    task |= {"shape": vars(shape), "matrix": 256 if options.tiny else 8192}
    begun = time.perf_counter()
    book = Book(options.out, task)
    for number in range(options.rounds):
        for arm in arms:
            if (number, arm) in book.found:
                continue
            spent = time.perf_counter() - begun
            if spent + book.longest(arm) > 60 * options.minutes:
                progress(f"{arm} of round {number + 1} is left for another call: {spent / 60:.1f} minutes are spent")
                continue
            book.play(arm, number, threads=options.threads)
    rounds = book.rounds(options.rounds)
    about = circumstances(options, task)
    about["machine"] |= card(options.device)
    doubts = [f"{arm} failed: {text}" for arm, text in book.failed.items()] + check(rounds, options.tolerance)
    missing = [arm for arm in arms if not any(arm in one for one in rounds)]
    return {**about, "arms": summarise(rounds), "goals": goals(rounds), "doubts": doubts, "missing": missing,
            "rounds": rounds}  # fmt: skip


class Book:
    """What was measured so far, in a file with a line an arm; lines of other settings are left alone."""

    def __init__(self, file: Path, task: Mapping[str, Any]) -> None:
        self.file, self.task = file, task
        self.settings = hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()[:12]
        self.found: dict[tuple[int, str], dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []  # the last may be cut
        for row in map(json.loads, lines):
            if row["settings"] == self.settings and "found" in row:
                self.found[row["round"], row["arm"]] = row
        if file.exists() and not file.read_bytes().endswith(b"\n"):
            file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def longest(self, arm: str) -> float:
        """Seconds that the arm will take, by itself or by others before it; a guess where there are none."""
        own = [row["seconds"] for (_, name), row in self.found.items() if name == arm]
        return max(own or [row["seconds"] for row in self.found.values()] or [60.0])

    def play(self, arm: str, number: int, *, threads: int) -> None:
        """Measure it and write it down; a failure is written, too, and tried again by the next call."""
        begun = time.perf_counter()
        row: dict[str, Any] = {"settings": self.settings, "commit": commit(), "arm": arm, "round": number}
        try:
            row["found"] = spawn(__file__, {**self.task, "arm": arm}, threads=threads, limit=LONGEST)
            self.failed.pop(arm, None)
        except SystemExit as error:
            row["failed"] = self.failed[arm] = str(error)[-2000:]
        row["seconds"] = round(time.perf_counter() - begun, 1)
        if "found" in row:
            self.found[number, arm] = row
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        progress(f"{arm}: {'failed' if 'failed' in row else 'measured'}, {row['seconds']:.0f} s with building")

    def rounds(self, count: int) -> Rounds:
        """What each arm found, round by round, in the order of :data:`ORDER`; empty rounds are left out."""
        made = [{arm: self.found[n, arm]["found"] for arm in ORDER if (n, arm) in self.found} for n in range(count)]
        return [one for one in made if one]


def card(device: str) -> dict[str, Any]:
    """The GPU in words."""
    import torch

    if not device.startswith("cuda"):
        return {}
    facts = torch.cuda.get_device_properties(device)
    return {"gpu": facts.name, "gpu_gib": round(facts.total_memory / 2**30, 1), "cuda": torch.version.cuda}


def check(rounds: Rounds, tolerance: float) -> list[str]:
    """Where arms that train the same did not do the same: before the first step every method is the base model."""
    doubts = []
    for one in rounds:
        trained = {arm: found for arm, found in one.items() if arm.split(":")[0] in METHODS}
        first = next(iter(trained.values()), None)
        for arm, found in trained.items():
            assert first is not None
            if abs(found["loss"] - first["loss"]) > tolerance:
                doubts.append(f"{arm}: the loss of step 1 is {found['loss']}, elsewhere {first['loss']}")
            if found["supervised"] != first["supervised"]:
                doubts.append(f"{arm}: {found['supervised']} supervised tokens, elsewhere {first['supervised']}")
        asked = [arm for arm in one if arm.startswith("ask:")]
        for arm in asked[1:]:
            same = sum(one[asked[0]]["answers"][key] == text for key, text in one[arm]["answers"].items())
            if same < len(one[arm]["answers"]):
                doubts.append(f"{arm}: {same} of {len(one[arm]['answers'])} answers are those of {asked[0]}")
    return doubts


def both(rounds: Rounds, *arms: str) -> Rounds:
    """The rounds in which all these arms are."""
    return [one for one in rounds if all(arm in one for arm in arms)]


def summarise(rounds: Rounds) -> dict[str, dict[str, Any]]:
    """Figures of each arm, and of what trains how many times as fast as TRL with the same method, or TRL's LoRA."""
    found: dict[str, dict[str, Any]] = {}
    for arm in ORDER:
        own = both(rounds, arm)
        if not own:
            continue
        facts = own[0][arm]
        numbers = [k for k, value in facts.items() if isinstance(value, int | float) and not isinstance(value, bool)]
        row: dict[str, Any] = {key: median(own, arm, key) for key in numbers}
        row |= {key: value for key, value in facts.items() if isinstance(value, str)}
        method = arm.split(":")[0]
        base = next((b for b in (method + ":trl", BASE) if method in METHODS and both(rounds, arm, b)), None)
        if base is not None:
            pairs = both(rounds, arm, base)
            row |= {"base": base, "times_base": ratio(pairs, base, arm, "seconds")}
            row["times_base_range"] = spread(pairs, base, arm, "seconds")
        found[arm] = row
    return found


def goals(rounds: Rounds) -> list[dict[str, Any]]:
    """What was asked for, and what came of it where both arms are there."""
    reached = []
    for words, arm, key, other, bound, kind in GOALS:
        pairs = both(rounds, arm, other) if other else both(rounds, arm)
        if not pairs or pairs[0][arm].get(key) is None:
            continue
        value = ratio(pairs, arm, other, key) if other else median(pairs, arm, key)
        met = value >= bound if kind == "at least" else value <= bound
        reached.append({"goal": words, "value": value, "asked": f"{kind} {bound}", "met": met})
    return reached


def as_text(report: dict[str, Any]) -> str:
    """Tables for reading."""
    arms = report["arms"]
    columns = {
        "loss 1": "loss", "s/step": "step", "tok/s": "tokens_per_second", "superv. tok/s": "per_second",
        "share": "share", "peak GiB": "peak", "base": "base", "/ base": "times_base", "range": "times_base_range",
    }  # fmt: skip
    trained = [arm for arm in arms if arm.split(":")[0] in METHODS]
    lines = [*heading(report), ""] if "machine" in report else []
    rates = [row["rate"] / 1e12 for row in arms.values() if "rate" in row]
    lines += [f"measured bfloat16 matrix rate: {max(rates):.2f} TFLOP/s", ""] if rates else []
    rows = [[arm, *(arms[arm].get(key) for key in columns.values())] for arm in trained]
    lines += [*table(["arm", *columns], rows), ""] if rows else []
    for arm in arms:
        if arm not in trained:
            facts = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in arms[arm].items())
            lines.append(f"{arm}: {facts}")
    for goal in report.get("goals", ()):
        verdict = "met" if goal["met"] else "missed"
        lines.append(f"{goal['goal']}: {goal['value']:.3f}, asked for {goal['asked']}: {verdict}")
    lines += [f"doubt: {text}" for text in report.get("doubts", ())]
    missing = report.get("missing")
    return "\n".join([*lines, *([f"not measured: {', '.join(missing)}"] if missing else [])])


if __name__ == "__main__":
    main()

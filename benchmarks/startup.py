"""Seconds from starting a command to its first result, beside the imports that none can do without.

    python benchmarks/startup.py

Arms: ``help`` (``holdfast --help``); ``compare`` (two small prediction files, to the printed verdict); ``long`` (the
same with 300,000 lines each); ``tune`` (from the command to the end of the first training step of the pocket model on
scanned digits, one source, nothing cached); ``imports`` (a process that imports torch and what transformers needs to
build and read a LLaVA, and ends); ``json`` (a process that imports json, and ends: what no command can do without).

Each arm is a fresh process once a round, interleaved; an unmeasured round leaves files in the page cache and modules
compiled, as an installation does. Seconds and MiB (the peak of resident memory) are medians over rounds, ratios those
of the ratio within a round: ``tune`` to ``imports``, the others to ``json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import (
    circumstances,
    common_arguments,
    heading,
    median,
    play,
    progress,
    ratio,
    script_parser,
    spread,
    table,
    workshop,
)

ARMS = ("help", "compare", "long", "tune", "imports", "json")
BARE = {"tune": "imports", "help": "json", "compare": "json", "long": "json"}
"""Arm -> the arm that it is held against."""
IMPORTS = (
    "import torch, transformers\n"
    "from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor"
)
RECIPE = {
    "model": "pocket",
    "tune": {"vision": "frozen", "connector": "frozen", "llm": {"method": "lora", "r": 8, "lr": 1e-3}},
    "target": "pocket:digits",
    "sources": ["pocket:color"],
    "train": {"steps": 20, "batch_size": 16},
}


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--items", type=int, default=1000, help="lines of each prediction file (default 1000)")
    parser.add_argument("--long", type=int, default=300_000, help="of those of the long arm (default 300000)")
    common_arguments(parser)
    options = parser.parse_args()
    report = measure(options)
    print(json.dumps(report, indent=1) if options.json else as_text(report))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds and what they come to."""
    with workshop("startup") as folder:
        for name, period in (("base", 3), ("tuned", 4)):
            write_predictions(folder / f"{name}.jsonl", options.items, period)
            write_predictions(folder / f"{name}-long.jsonl", options.long, period)
        (folder / "recipe.json").write_text(json.dumps(RECIPE), encoding="utf-8")  # JSON is YAML

        def run(arm: str) -> dict[str, Any]:
            return run_arm(arm, folder, options.threads)

        play(1, ARMS, run)
        rounds = play(options.rounds, ARMS, run, progress)
    arms: dict[str, dict[str, Any]] = {
        arm: {name: median(rounds, arm, name) for name in ("seconds", "mib")} for arm in ARMS
    }
    for arm, bare in BARE.items():
        arms[arm] |= {
            "against": bare,
            "times": ratio(rounds, arm, bare, "seconds"),
            "range": spread(rounds, arm, bare, "seconds"),
        }
    about = circumstances(options, {"items": options.items, "long": options.long})
    return {**about, "arms": arms, "rounds": rounds}


def write_predictions(path: Path, items: int, period: int) -> None:
    """A task of ``items`` questions of which every ``period``-th is answered wrongly."""
    right = [i % period != 0 for i in range(items)]
    rows = (
        {"id": f"q{i}", "task": "mine", "prediction": "yes" if yes else "no", "score": float(yes)}
        for i, yes in enumerate(right)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run_arm(arm: str, folder: Path, threads: int) -> dict[str, Any]:
    """Seconds of one process, for ``tune`` until the first step stands in the run's log.

    Raises:
        SystemExit: The process failed; with the end of what it wrote.
    """
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every call would compile Holdfast anew
    run = folder / "run"
    commands = {
        "help": ["-m", "holdfast", "--help"],
        "compare": ["-m", "holdfast", "compare", *(str(folder / f"{name}.jsonl") for name in ("base", "tuned"))],
        "long": ["-m", "holdfast", "compare", *(str(folder / f"{name}-long.jsonl") for name in ("base", "tuned"))],
        "json": ["-c", "import json"],
        "tune": ["-m", "holdfast", "tune", str(folder / "recipe.json"), "--out", str(run)],
        "imports": ["-c", IMPORTS],
    }
    said = folder / f"{arm}.txt"
    with said.open("wb") as stream:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *commands[arm]], env=environment, cwd=folder, stdout=stream, stderr=subprocess.STDOUT
        )
        code, peak = _until(process, run / "train.jsonl") if arm == "tune" else _ended(process)
        seconds = time.perf_counter() - begun
    if code:
        raise SystemExit(f"{arm} failed:\n{said.read_text(encoding='utf-8')[-3000:]}")
    shutil.rmtree(run, ignore_errors=True)
    return {"seconds": seconds, "mib": peak / 1024}


def _ended(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """How the process ended, and the most memory it held, in KiB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss


def _until(process: subprocess.Popen[bytes], log: Path) -> tuple[int, int]:
    """As :func:`_ended`, after a line has come into ``log`` and the process was ended for it, which counts as 0."""
    while not (log.exists() and log.read_bytes().endswith(b"\n")):
        code = process.poll()
        if code is not None:
            return code or 1, 0
        time.sleep(0.005)
    process.kill()
    return 0, _ended(process)[1]


def as_text(report: dict[str, Any]) -> str:
    """A table for reading."""
    rows = [
        [arm, row["seconds"], row["mib"], row.get("against"), row.get("times"), row.get("range")]
        for arm, row in report["arms"].items()
    ]
    return "\n".join([*heading(report), "", *table(["arm", "s", "MiB", "against", "times", "range"], rows)])


if __name__ == "__main__":
    main()

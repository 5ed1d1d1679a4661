"""A study by `holdfast study run` beside its points one by one by `holdfast tune`, with nothing shared.

    python benchmarks/studies.py                                             # 8 points of the pocket main study
    python benchmarks/studies.py --methods lora,full --targets digits --seeds 1 --steps 20 --rounds 1    # small

The points are those of `peft_main` at pocket scale: some methods, connector frozen and tuned, some targets and seeds,
all at one learning rate, because choosing rates would be more work for the study alone. Arms, each in a fresh process
and in folders of its own: ``study`` (`study run` with ``--workers`` workers, which share the threads); ``tune`` (one
`tune` after the other with all threads; each with its own base answers and its own caches, in a process of its own);
``alike`` (the same with as many threads as a worker has, for sums of floats depend on that).

Timed: the commands from start to end, with imports, base predictions, reports and everything else; ``processor`` is
what they and their workers computed. The answers of ``study`` and ``alike`` must be the same bytes, item by item, and
so must E and F; for ``tune`` the report counts the points where they are. Ratios are medians over rounds of the ratio
within a round. Asked for: ``tune / study`` of at least 2.5 with two workers on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from common import (
    circumstances,
    heading,
    median,
    play,
    progress,
    ratio,
    run_script,
    script_parser,
    spawn,
    split_names,
    split_numbers,
    spread,
    table,
    workshop,
)

ARMS = ("study", "tune", "alike")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--methods", type=split_names, default=("lora", "adapter"), help="default: lora,adapter")
    parser.add_argument("--targets", type=split_names, default=("digits",), help="default: digits")
    parser.add_argument("--seeds", type=split_numbers, default=(1, 2), help="default: 1,2")
    parser.add_argument("--steps", type=int, default=150, help="of every training (default 150)")
    parser.add_argument("--workers", type=int, default=2, help="of the study (default 2)")
    parser.add_argument("--arms", type=split_names, default=ARMS, help="comma-separated; default: all")
    run_script(parser, run_arm, measure, to_text, rounds=3)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and whether the points came to the same."""
    task = {name: getattr(options, name) for name in ("methods", "targets", "seeds", "steps", "workers", "threads")}
    arms = tuple(options.arms)
    rounds = play(
        options.rounds, arms, lambda arm: spawn(__file__, {**task, "arm": arm}, threads=options.threads), progress
    )
    points = rounds[0]["study"]["points"] if "study" in arms else {}
    same: dict[str, int] = {}
    for one in rounds:
        for arm, found in one.items():
            other = found.pop("points")
            same[arm] = min(same.get(arm, len(other)), sum(other[key] == points.get(key) for key in other))
            if arm == "alike" and other != points:
                apart = [key for key in other if other[key] != points.get(key)]
                raise SystemExit(f"study and tune came to different results at {', '.join(apart) or 'other points'}")
    return {
        **circumstances(options, {name: value for name, value in task.items() if name != "threads"}),
        "count": len(points),
        "same": same,
        "arms": {
            arm: {
                "seconds": median(rounds, arm, "seconds"),
                "processor": median(rounds, arm, "processor"),
                "over": ratio(rounds, arm, "study", "seconds"),
                "range": spread(rounds, arm, "study", "seconds"),
                "processor_over": ratio(rounds, arm, "study", "processor"),
            }
            for arm in arms
            if "study" in arms
        },
        "rounds": rounds,
    }


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """One arm in folders that nothing was in before."""
    from holdfast.studies.agenda import Planner
    from holdfast.studies.studyfile import read_study_file

    with workshop("studies") as folder:
        file = folder / "study.yaml"
        file.write_text(yaml.safe_dump(subset(task), sort_keys=False), encoding="utf-8")
        points = {p.key: p for p in Planner(read_study_file(file)).agenda(lambda key: None).points}
        recipes = {}
        for key, point in points.items():
            recipes[key] = folder / f"{key}.yaml"
            recipes[key].write_text(yaml.safe_dump(point.config, sort_keys=False), encoding="utf-8")
        begun, before = time.perf_counter(), computed()
        if task["arm"] == "study":
            words = ["study", "run", str(file), "--out", str(folder / "all"), "--workers", str(task["workers"])]
            holdfast(words, folder / "cache", task["threads"])
            runs = {key: folder / "all" / point.place for key, point in points.items()}
        else:
            threads = task["threads"] if task["arm"] == "tune" else max(1, task["threads"] // task["workers"])
            runs = {key: folder / "alone" / key / "run" for key in points}
            for key, recipe in recipes.items():
                holdfast(["tune", str(recipe), "--out", str(runs[key])], folder / "alone" / key / "cache", threads)
        seconds, processor = time.perf_counter() - begun, computed() - before
        return {
            "seconds": seconds,
            "processor": processor,
            "points": {" ".join(point.levels.values()): came_to(runs[key]) for key, point in points.items()},
        }


def subset(task: dict[str, Any]) -> dict[str, Any]:
    """The study file of some points of the main study, at one rate."""
    from holdfast.studies.library import find_study
    from holdfast.studies.studyfile import read_study_file

    file, base = find_study("peft_main")
    main = read_study_file(file, scale="pocket", base=base)
    axes: dict[str, Any] = {}
    for name, axis in main.axes.items():
        wanted: Sequence[str] | None = {"method": task["methods"], "target": task["targets"]}.get(name)
        axes[name] = {level: axis.levels[level] for level in wanted or axis.levels}
    axes["seed"] = list(task["seeds"])
    for patch in axes["method"].values():
        patch["tune"]["llm"]["lr"] = 1e-3
    common = json.loads(json.dumps(main.common))
    common["train"]["steps"] = task["steps"]
    return {"title": "Points of the main study", "common": common, "axes": axes}


def holdfast(words: Sequence[str], cache: Path, threads: int) -> None:
    """One command in a process of its own."""
    environment = os.environ | {"HOLDFAST_CACHE": str(cache), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "holdfast", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"holdfast {' '.join(words)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def came_to(run: Path) -> dict[str, Any]:
    """E and F, and a digest of every answer, of base and tuned model."""
    entry = next(iter(json.loads((run / "scores.json").read_text(encoding="utf-8"))["recipes"].values()))
    files = sorted([*run.glob("predictions/*.jsonl"), *run.glob("base/predictions/*.jsonl")])
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return {"E": entry["E"], "F": entry["F"], "answers": digest}


def computed() -> float:
    """Seconds of processor that the commands of this process took, their workers included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def to_text(report: dict[str, Any]) -> str:
    """For people."""
    rows = [
        (arm, row["seconds"], row["processor"], row["over"], row["range"], row["processor_over"], report["same"][arm])
        for arm, row in report["arms"].items()
    ]
    header = ("arm", "s", "processor s", "/ study", "range", "processor / study", f"same of {report['count']}")
    return "\n".join([*heading(report), "", *table(header, rows)])


if __name__ == "__main__":
    main()

"""How long the page of a large study takes: a folder of thousands of finished points is made up, read and drawn.

Every point has a ``scores.json`` of its own and a line in the index, as the engine leaves them; the figures are drawn
from a normal distribution and a few points also have predictions, a log and a ledger. Timed are, each once and in this
process: reading the study, reading its items, comparing all recipes, and writing the page with its pictures. Making the
folder is not timed. ``--folder`` keeps it, and a folder that is there is used again.

    python benchmarks/report.py                        # 5,000 points
    python benchmarks/report.py --points 500 --folder /tmp/study
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.study_folder import METHODS, make_study

from holdfast.files import read_json, write_json, write_text
from holdfast.results.points import append_result, read_items, read_results

STEPS, TARGETS, SEEDS = ("50", "150"), ("digits", "letters"), tuple("123456")
LIMIT = 5_000_000
"""Bytes that the page may have without pictures."""


def make(folder: Path, points: int) -> None:
    """A study of at least ``points`` finished points; the first ones have everything a run has."""
    make_study(folder, failed=False, items=200, title=f"{points:,} made-up points")
    study = read_json(folder / "study.json")
    whole = {tuple(point["levels"].values()): point["key"] for point in study["points"]}
    donors = [read_json(folder / "points" / key / "scores.json")["recipes"]["run"] for key in whole.values()]
    methods = [*METHODS]
    methods += [f"m{i}" for i in range(-(-points // (len(STEPS) * len(TARGETS) * len(SEEDS))) - len(methods))]
    draw, rows = random.Random(0), []
    for levels in levels_of(methods):
        key = whole.get(tuple(levels.values()))
        if key is None:
            key = f"{1_000_000 + len(rows):016x}"
            entry = copy.deepcopy(draw.choice([one for one in donors if levels["target"] in one["target"]]))
            entry |= {"E": entry["E"] + draw.gauss(0, 3), "F": entry["F"] + draw.gauss(0, 3)}
            entry |= {"O": entry["E"] + entry["F"], "method": levels["method"], "seed": int(levels["seed"])}
            write_json(folder / "points" / key / "scores.json", {"recipes": {"run": entry}})
        rows.append({"key": key, "levels": levels, "config": {}})
    axes = {"method": methods, "train.steps": STEPS, "target": TARGETS, "seed": SEEDS}
    write_json(folder / "study.json", study | {"axes": axes, "points": rows, "claims": []})
    (folder / "results.jsonl").unlink()
    lines = []
    for row in rows:  # as append_result writes them, in one go
        file = folder / "points" / row["key"] / "scores.json"
        found = file.stat()
        entry = read_json(file)["recipes"]["run"]
        lines.append(json.dumps({"key": row["key"], "stamp": [found.st_size, found.st_mtime_ns], "scores": entry}))
    write_text(folder / "results.jsonl", "\n".join(lines) + "\n")
    append_result(folder, rows[0]["key"])


def levels_of(methods: list[str]) -> Iterator[dict[str, str]]:
    """Every combination."""
    for method in methods:
        for step in STEPS:
            for target in TARGETS:
                for seed in SEEDS:
                    yield {"method": method, "train.steps": step, "target": target, "seed": seed}


def main() -> None:
    """Make the folder, time the parts, print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=5_000)
    parser.add_argument("--folder", type=Path, help="keep the study here")
    parser.add_argument("--json", type=Path, help="write the figures")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        run(arguments.folder, arguments.points, arguments.json)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "study", arguments.points, arguments.json)


def run(folder: Path, points: int, out: Path | None) -> None:
    """Time reading, aggregating and drawing."""
    if not (folder / "study.json").exists():
        make(folder, points)
        read_items(read_results(folder))  # written by the engine as points finish

    figures: dict[str, Any] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        wall, processor = time.perf_counter(), time.process_time()
        made = work()
        figures[name] = {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
        print(f"{name:<10} {figures[name]['seconds']:6.2f} s, {figures[name]['processor']:6.2f} s of processor time")
        return made

    def load() -> None:
        import holdfast.reports.study
        import holdfast.results.overview  # noqa: F401

    timed("imports", load)
    from holdfast.reports.study import write_study_page
    from holdfast.results.overview import aggregate, sections

    results = timed("read", lambda: read_results(folder))
    items = timed("items", lambda: read_items(results))
    whole = timed("aggregate", lambda: aggregate(results, items))
    told = timed("sections", lambda: sections(whole))
    page = timed("page", lambda: write_study_page(results, folder, items=items, whole=whole, told=told))
    total = {part: sum(figure[part] for figure in figures.values()) for part in ("seconds", "processor")}
    size = page.stat().st_size
    print(f"{'together':<10} {total['seconds']:6.2f} s, {total['processor']:6.2f} s of processor time")
    print(f"{len(results.finished):,} finished points; the page has {size:,} bytes; load {os.getloadavg()[0]:.1f}")
    if out is not None:
        write_json(out, figures | {"together": total, "points": len(results.finished), "bytes": size})


if __name__ == "__main__":
    main()

"""The benchmark's simulated studies for tests, in memory or as a study folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.files import write_json, write_lines
from holdfast.results.items import ItemChanges
from holdfast.results.points import Results, append_result

FOLDER = str(Path(__file__).resolve().parents[2] / "benchmarks")
if FOLDER not in sys.path:
    sys.path.append(FOLDER)
world: Any = importlib.import_module("simulated_study")


def draw(seed: int = 0, **settings: Any) -> tuple[Results, dict[str, dict[str, ItemChanges]], Any]:
    """A study, the changes of its items by point, and the world it was drawn from."""
    truth = world.World(**settings)
    results, changes = world.simulate(truth, np.random.default_rng(seed))
    return results, changes, truth


def write_folder(
    folder: Path,
    results: Results,
    changes: Mapping[str, Mapping[str, ItemChanges]],
    *,
    index: bool = False,
    **more: Any,
) -> Path:
    """A study folder as the engine leaves it: the record, and of each point scores and predictions."""
    for point in results.points:
        run = folder / "points" / point.key
        for task, of in changes[point.key].items():
            for place, sign in ((run / "base", -1), (run, 1)):
                rows = [
                    {"id": f"{image}-{n}", "task": task, "image": f"p{image}", "prediction": "x", "score": score}
                    for image, (size, change) in enumerate(zip(of.sizes, of.change, strict=True))
                    for n, score in enumerate(_scores(int(size), int(change), sign))
                ]
                write_lines(place / "predictions" / f"{task}.jsonl", rows)
        write_json(run / "scores.json", {"recipes": {"run": point.scores}})
    rows = [{"key": p.key, "levels": dict(p.levels), "config": {"seed": int(p.levels["seed"])}} for p in results.points]
    axes = {axis: list(levels) for axis, levels in results.axes.items()}
    write_json(folder / "study.json", {"title": results.title, "about": "", "axes": axes, "points": rows} | more)
    for point in results.points if index else ():
        append_result(folder, point.key)
    return folder


def _scores(size: int, change: int, sign: int) -> list[float]:
    """Scores of the items on one image whose sum, after less before, is ``change``."""
    right = max(0, change * sign)
    return [1.0] * right + [0.0] * (size - right)

"""E and F over training: every recipe at the moments at which its runs were looked at, with the errors of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.results.curves import Curve, CurvePoint, retained
from holdfast.results.items import Tasks, append_items, read_store
from holdfast.results.measured import Measured, levels_on, measured
from holdfast.results.points import SCORES, Point, Results, stamp_of
from holdfast.results.variance import Effect
from holdfast.values import JSON

DURING = "during"
"""The key of the moments among the scores of a run, and the folder of their answers beside it."""

STEP = "step"
"""What such a curve runs along."""


def over_training(results: Results, items: Mapping[str, Tasks]) -> list[Curve]:
    """Every recipe with runs that were looked at while they trained; empty where there is none.

    Args:
        results: The study.
        items: Of its points as they ended, from :func:`holdfast.results.points.read_items`.
    """
    looked = [point for point in results.finished if isinstance(point.scores.get(DURING), list)]
    if not looked:
        return []
    steps = sorted({int(row[STEP]) for point in looked for row in point.scores[DURING]})
    answers = _items(results, looked)
    found: dict[tuple[str, ...], list[CurvePoint]] = {}
    for step in steps:
        points = [replace(p, scores=scores) for p in looked if (scores := _scores_at(p, step)) is not None]
        own = {p.key: _own(p, step, items, answers) for p in points}
        there = replace(results, points=tuple(points))
        kept = retained(there)
        measures = {letter: measured(there, letter, own) for letter in "EF"}
        for recipe in dict.fromkeys(levels_on(point, results.factors) for point in points):
            E, F = (_mean(one, recipe) for one in measures.values())
            found.setdefault(recipe, []).append(CurvePoint(float(step), E, F, kept.get(recipe)))
    return [
        Curve(STEP, dict(zip(results.factors, recipe, strict=True)), tuple(row))
        for recipe, row in found.items()
        if len(row) > 1
    ]


def moments(scores: Mapping[str, Any]) -> list[JSON]:
    """The moments of one run, from the base to its end; empty where it was not looked at."""
    return [row for row in scores.get(DURING) or () if isinstance(row, dict)]


def _mean(one: Measured, recipe: tuple[str, ...]) -> Effect | None:
    return one.mean(one.recipes.index(recipe)) if recipe in one.recipes else None


def _scores_at(point: Point, step: int) -> JSON | None:
    """The scores of a run as they were behind a step; ``None`` where it was not looked at there."""
    row = next((row for row in moments(point.scores) if row[STEP] == step), None)
    if row is None:
        return None
    tasks = {
        part: {name: task | {"after": row[part][name]} for name, task in point.scores[part].items()}
        for part in ("target", "sources")
    }
    return point.scores | {letter: row[letter] for letter in "EFO"} | tasks


def _own(point: Point, step: int, items: Mapping[str, Tasks], answers: Mapping[tuple[str, int], Tasks]) -> Tasks:
    """What had changed on each image by a step; empty where that is not known."""
    if (point.key, step) in answers:
        return answers[point.key, step]
    final = items.get(point.key, {})
    if step == moments(point.scores)[-1][STEP]:
        return final
    still = step == 0 and not (point.folder / "start").is_dir()
    return {name: replace(task, change=0 * task.change) for name, task in final.items()} if still else {}


def _items(results: Results, looked: Sequence[Point]) -> dict[tuple[str, int], Tasks]:
    """Key and step -> what had changed on each image; kept with the items of the study as ``KEY@STEP``."""
    store, made = read_store(results.folder), list[JSON]()
    found: dict[tuple[str, int], Tasks] = {}
    for point in looked:
        for row in moments(point.scores)[:-1]:
            step = int(row[STEP])
            name, place = f"{point.key}@{step}", point.folder / (f"{DURING}/{step}" if step else "start")
            with suppress(HoldfastError, OSError):
                stamp = stamp_of(point.folder / SCORES)
                if (tasks := store.of(name, stamp)) is None and (place / "predictions").is_dir():
                    made.append(store.make(name, stamp, point.folder, answers=place))
                    tasks = store.of(name, stamp)
                if tasks:
                    found[point.key, step] = tasks
    if made:
        with suppress(HoldfastError):  # a folder that may only be read is read again the next time
            append_items(results.folder, made)
    return found

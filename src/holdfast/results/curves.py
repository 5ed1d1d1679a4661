"""Curves over an axis of numbers (steps, rates, ranks, sizes), and sequences of targets learned one after another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.results.items import Tasks
from holdfast.results.measured import levels_on, measured
from holdfast.results.points import SEED, Point, Results
from holdfast.results.variance import Effect, SeedPart, as_effect, errors
from holdfast.verdict.sequence import SequenceMeasures, measure

STAGE = "stage"
"""The axis whose levels are the tasks that one model learned one after another."""


@dataclass(frozen=True)
class CurvePoint:
    """One step of a curve.

    Attributes:
        at: The number.
        E, F: Means.
        kept: Mean over sources of the score after in percent of the score before, and its interval over trainings.
    """

    at: float
    E: Effect | None
    F: Effect | None
    kept: Effect | None


@dataclass(frozen=True)
class Curve:
    """One recipe along an axis.

    Attributes:
        axis: The axis.
        recipe: Factor -> level of all others.
        points: In the order of the numbers.
    """

    axis: str
    recipe: Mapping[str, str]
    points: tuple[CurvePoint, ...]


def number_axes(results: Results) -> list[str]:
    """Factors whose levels are all numbers, at least three of them."""
    return [axis for axis in results.factors if len(results.axes[axis]) > 2 and all(map(_number, results.axes[axis]))]


def curves(results: Results, items: Mapping[str, Tasks], axis: str) -> list[Curve]:
    """Every recipe that has at least two levels of the axis."""
    found = {letter: measured(results, letter, items) for letter in "EF"}
    place = results.factors.index(axis)
    rows: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for recipe in dict.fromkeys(recipe for one in found.values() for recipe in one.recipes):
        rows.setdefault((*recipe[:place], *recipe[place + 1 :]), []).append(recipe)
    others = [factor for factor in results.factors if factor != axis]
    kept = retained(results)
    drawn = []
    for rest, recipes in rows.items():
        points = []
        for recipe in sorted(recipes, key=lambda recipe: float(recipe[place])):
            E, F = (one.mean(one.recipes.index(recipe)) if recipe in one.recipes else None for one in found.values())
            points.append(CurvePoint(at=float(recipe[place]), E=E, F=F, kept=kept.get(recipe)))
        if len(points) > 1:
            drawn.append(Curve(axis, dict(zip(others, rest, strict=True)), tuple(points)))
    return drawn


def retention(point: Point) -> float | None:
    """Mean over the sources that F counts of the score after in percent of the score before."""
    left_out = (point.scores.get("left_out") or {}).get("F", ())
    ratios = [
        100 * row["after"] / row["before"]
        for name, row in point.scores["sources"].items()
        if name not in left_out and row["before"] > 0
    ]
    return math.fsum(ratios) / len(ratios) if ratios else None


def retained(results: Results) -> dict[tuple[str, ...], Effect]:
    """Levels of a recipe on all factors -> its retention, the mean over conditions and trainings."""
    kept: dict[tuple[str, ...], dict[tuple[str, ...], list[float]]] = {}
    for point in results.finished:
        value = retention(point)
        if value is not None:
            conditions = kept.setdefault(levels_on(point, results.factors), {})
            conditions.setdefault(levels_on(point, results.conditions), []).append(value)
    return {recipe: over_trainings(list(conditions.values())) for recipe, conditions in kept.items()}


def over_trainings(groups: Sequence[Sequence[float]]) -> Effect:
    """The mean of the groups' means, with the spread over the trainings of each."""
    parts = [
        SeedPart(1 / len(groups), len(g), np.array([np.var(g, ddof=1) if len(g) > 1 else 0.0]), np.zeros(1))
        for g in groups
    ]
    error, freedom, basis = errors(parts, 0.0, items=None, items_freedom=1.0, both=0.0)
    value = float(np.mean([np.mean(g) for g in groups]))
    return as_effect(value, float(error[0]), float(freedom[0]), basis, float(np.mean([len(g) for g in groups])))


@dataclass(frozen=True)
class SequenceResult:
    """A recipe that learned several targets in turn.

    Attributes:
        recipe: Factor -> level.
        tasks: In the order learned.
        measures: Of each seed.
        average, backward, forgetting, forward: Their means over the seeds, in points.
    """

    recipe: Mapping[str, str]
    tasks: tuple[str, ...]
    measures: Mapping[str, SequenceMeasures]
    average: Effect
    backward: Effect
    forgetting: Effect
    forward: Effect


def sequences(results: Results) -> list[SequenceResult]:
    """Where the study has an axis ``stage``: the measures of continual learning, by recipe.

    The levels of the axis, in order, are the tasks; the point of a stage has scores of all of them. A seed in which a
    stage is missing is left out.
    """
    if STAGE not in results.axes:
        return []
    tasks = results.axes[STAGE]
    factors = [factor for factor in results.factors if factor != STAGE]
    stages: dict[tuple[str, ...], dict[str, dict[str, Point]]] = {}
    for point in results.finished:
        recipe = levels_on(point, factors)
        seed = stages.setdefault(recipe, {}).setdefault(point.levels.get(SEED, ""), {})
        seed[point.levels.get(STAGE, "")] = point
    found = []
    for recipe, seeds in stages.items():
        measures = {
            seed: measure(tasks, _scores(points[tasks[0]], "before"), [_scores(points[t], "after") for t in tasks])
            for seed, points in seeds.items()
            if all(task in points and set(tasks) <= _scores(points[task], "after").keys() for task in tasks)
        }
        if measures:
            names = ("average", "backward", "forgetting", "forward")
            means = [over_trainings([[100 * getattr(m, name) for m in measures.values()]]) for name in names]
            found.append(SequenceResult(dict(zip(factors, recipe, strict=True)), tasks, measures, *means))
    return found


def _scores(point: Point, when: str) -> dict[str, float]:
    return {name: row[when] / 100 for part in ("target", "sources") for name, row in point.scores[part].items()}


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False

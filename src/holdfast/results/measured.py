"""One measure of a study as arrays: recipes by trainings, and by images; every contrast of recipes from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from holdfast.results.items import Floats, Tasks
from holdfast.results.moments import OneSum, RowPairs, SumMoments, errors_of
from holdfast.results.points import SEED, Point, Results
from holdfast.results.variance import Effect, Prior, as_effect, fit_prior, p_values

Unit = tuple[tuple[str, ...], str]
"""A condition (levels of target and model) and a seed: one training of every recipe."""

Where = Mapping[str, Collection[str]]
"""Axis -> the levels that are looked at; an axis that is not named is looked at whole."""

LETTERS = ("E", "F", "O", "H")
LINEAR = ("E", "F", "O")
"""Measures that are means of changes of items, so that items have a part in their error."""


@dataclass(frozen=True)
class Measured:
    """One measure.

    Attributes:
        measure: ``E``, ``F``, ``O``, ``H``, or the name of a cost.
        factors: Axes of a recipe.
        recipes: Its levels on them, in the order of the study.
        units: The trainings of each recipe.
        values: [recipes, units], in points; NaN where a point is not finished.
        changes: Part of each image in each value, [recipes, units, images]; NaN where the items are not known.
        sizes: Items on each image, [images].
        task: Number of the task of each image, [images].
        weights: Weight of each task in the measure of each unit, [units, tasks].
        still: Recipes that changed no item of any task, [recipes].
    """

    measure: str
    factors: tuple[str, ...]
    recipes: tuple[tuple[str, ...], ...]
    units: tuple[Unit, ...]
    values: Floats
    changes: Floats
    sizes: Floats
    task: NDArray[np.int64]
    weights: Floats
    still: NDArray[np.bool_]

    @cached_property
    def prior(self) -> Prior:
        """What the spreads over seeds of all cells have in common."""
        groups = [group for row, still in enumerate(self.still) if not still for group in self.repeated(row)]
        return fit_prior([float(group.var(ddof=1)) for group in groups], [len(group) - 1 for group in groups])

    @cached_property
    def images_in(self) -> Floats:
        """Items of each task, [tasks]."""
        return np.bincount(self.task, weights=self.sizes, minlength=self.weights.shape[1]).astype(np.float64)

    def _conditions(self, units: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
        """The chosen units of each condition."""
        places: dict[tuple[str, ...], list[int]] = {}
        for number in np.flatnonzero(units):
            places.setdefault(self.units[number][0], []).append(int(number))
        for chosen in places.values():
            yield np.array(chosen)

    def repeated(self, recipe: int) -> Iterator[Floats]:
        """A recipe's values over the seeds of each condition that has several."""
        row = self.values[recipe]
        return (row[chosen] for chosen in self._conditions(np.isfinite(row)) if len(chosen) > 1)

    def mean(self, recipe: int) -> Effect | None:
        """A recipe's mean; ``None`` where it has no finished point."""
        return self.contrast({recipe: 1.0})

    def spread(self, recipe: int) -> float | None:
        """Standard deviation over seeds, within conditions; ``None`` with one seed."""
        groups = list(self.repeated(recipe))
        freedom = sum(len(group) - 1 for group in groups)
        return math.sqrt(sum((len(g) - 1) * float(g.var(ddof=1)) for g in groups) / freedom) if freedom else None

    def contrast(self, weights: Mapping[int, float]) -> Effect | None:
        """A weighted sum of recipes, over the trainings that all of them have; ``None`` where there is none.

        Args:
            weights: Number of the recipe -> its weight.
        """
        rows = [row for row, weight in weights.items() if weight]
        factor = np.array([weights[row] for row in rows])
        units: NDArray[np.bool_] = np.asarray(self._finished[rows].all(axis=0))
        if not units.any():
            return None
        group = {self._group[row] for row in rows}
        if len(group) == 1:
            place, whole = self._alike[group.pop()]
            moments, sums = whole.of([place[row] for row in rows]), OneSum(factor)
        else:
            images = np.tensordot(factor, self.changes[rows][:, units], axes=1)
            moments, sums = self._moments(factor[None] @ self.values[rows], images[None], units), OneSum(np.ones(1))
        apart = np.where(self.still[rows], 0.0, factor)
        reach = max(float(apart[apart > 0].sum()), float(-apart[apart < 0].sum()))
        values, error, freedom, basis = errors_of(
            moments, sums, self.prior, squares=np.array([apart @ apart]), reach=np.array([reach])
        )
        return as_effect(float(values[0]), float(error[0]), float(freedom[0]), basis, moments.seeds_each)

    def differences(self) -> list[tuple[int, int, Effect | None, float]]:
        """Every pair of recipes: first, second, first less second, and its p-value.

        Recipes with the same trainings share their moments, and their pairs are computed at once.
        """
        found: dict[tuple[int, int], tuple[Effect | None, float]] = {}
        for place, moments in self._alike.values():
            rows = list(place)
            pairs = RowPairs(*np.triu_indices(len(rows), 1))
            moving = np.where(self.still[rows], 0.0, 1.0)
            squares = moving[pairs.first] + moving[pairs.second]
            values, error, freedom, basis = errors_of(
                moments, pairs, self.prior, squares=squares, reach=np.minimum(squares, 1.0)
            )
            seeds = moments.seeds_each
            columns = (pairs.first, pairs.second, values, error, freedom, p_values(values, error, freedom))
            for i, j, value, spread, free, p in zip(*(column.tolist() for column in columns), strict=True):
                found[rows[i], rows[j]] = as_effect(value, spread, free, basis, seeds), p
        for pair in itertools.combinations(range(len(self.recipes)), 2):
            if pair not in found:
                effect = self.contrast({pair[0]: 1.0, pair[1]: -1.0})
                found[pair] = effect, 1.0 if effect is None else effect.p_value()
        return [(first, second, *found[first, second]) for first, second in sorted(found)]

    @cached_property
    def _finished(self) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.values))

    @cached_property
    def _group(self) -> list[bytes]:
        """The same for recipes that have the same trainings, and items known or not."""
        known = np.isfinite(self.changes).all(axis=2) | ~self._finished
        return [row.tobytes() + items.all().tobytes() for row, items in zip(self._finished, known, strict=True)]

    @cached_property
    def _alike(self) -> dict[bytes, tuple[dict[int, int], SumMoments]]:
        """Of each group of recipes their places, and the moments of all of them at once."""
        rows: dict[bytes, list[int]] = {}
        for row, name in enumerate(self._group):
            rows.setdefault(name, []).append(row)
        found = {}
        for name, members in rows.items():
            units = self._finished[members[0]]
            images = self.changes[members][:, units]
            found[name] = {r: at for at, r in enumerate(members)}, self._moments(self.values[members], images, units)
        return found

    def _moments(self, sums: Floats, images: Floats, units: NDArray[np.bool_]) -> SumMoments:
        """What the errors of all weighted sums of some rows are made of.

        Args:
            sums: Values of the rows, [rows, all units].
            images: Parts of each image, [rows, chosen units, images].
            units: Which units are chosen, [all units].
        """
        groups = list(self._conditions(units))
        each = np.zeros(len(self.units))
        seeds = []
        for chosen in groups:
            each[chosen] = 1 / len(groups) / len(chosen)
            apart = sums[:, chosen] - sums[:, chosen].mean(axis=1, keepdims=True)
            seeds.append((len(chosen), apart @ apart.T / max(1, len(chosen) - 1)))
        means = sums[:, units] @ each[units]
        known = images.shape[2] > 0 and bool(np.isfinite(images).all())
        places = np.cumsum(units) - 1
        inner = [places[chosen] for chosen in groups]
        items, both, freedom = self._over_items(images if known else np.zeros_like(images), each[units], inner)
        return SumMoments(means, tuple(seeds), items, both, freedom, self._floor(each), known)

    def _over_items(
        self, images: Floats, weight: Floats, groups: Sequence[NDArray[np.int64]]
    ) -> tuple[Floats, Floats, float]:
        """Covariance of the rows over items, what of it is of items in one seed only, and degrees of freedom.

        Args:
            images: Parts of each image, [rows, chosen units, images].
            weight: Of the chosen units.
            groups: Places of each condition's units among the chosen ones.
        """
        fullness = np.bincount(self.task, minlength=self.weights.shape[1])
        used = np.zeros(len(fullness), dtype=bool)
        used[self.task[np.abs(images).sum(axis=(0, 1)) > 0]] = True
        if (fullness[used] < 2).any():
            endless = np.full((len(images), len(images)), math.inf)
            return endless, np.zeros_like(endless), 1.0
        share = self.sizes / self.images_in[self.task]
        apart = np.sqrt(np.maximum(1 - share, 1e-12))
        centred = np.empty_like(images)
        for task in range(len(fullness)):
            here = self.task == task
            centred[:, :, here] = images[:, :, here] - share[here] * images[:, :, here].sum(axis=2, keepdims=True)
        centred /= apart
        whole = np.tensordot(centred, weight, axes=([1], [0]))
        both = np.zeros((len(images), len(images)))
        for chosen in groups:
            if len(chosen) > 1:
                alone = centred[:, chosen] - centred[:, chosen].mean(axis=1, keepdims=True)
                flat = alone.reshape(len(images), -1)
                both += weight[chosen[0]] ** 2 * len(chosen) / (len(chosen) - 1) * (flat @ flat.T)
        freedom = float(fullness[used].min() - 1) if used.any() else math.inf
        return whole @ whole.T, both, freedom

    def _floor(self, each: Floats) -> float:
        """The variance of two items that flipped, one each way, so that a few flips do not claim to be none.

        Bonett and Price (Journal of Educational and Behavioral Statistics 37, 2012) add one to each kind of flip.
        """
        weight = each @ self.weights
        fullness = np.bincount(self.task, minlength=len(weight))
        known = self.images_in > 0
        return float((2e4 * weight[known] ** 2 / self.images_in[known] / fullness[known]).sum())


def measured(
    results: Results,
    measure: str,
    items: Mapping[str, Tasks],
    where: Where | None = None,
    factors: Sequence[str] | None = None,
) -> Measured:
    """Gather one measure of the finished points.

    Args:
        results: The study.
        measure: ``E``, ``F``, ``O``, ``H``, ``target_after``, or a number among the scores (``seconds``).
        items: Key of a point -> its changes by item; points without them have intervals over seeds only.
        where: Which levels are looked at.
        factors: Axes that make a recipe; default: the study's. Target and model may be among them.
    """
    points = [point for point in results.finished if chosen(point, where or {})]
    points = [point for point in points if value_of(point, measure) is not None]
    factors = results.factors if factors is None else tuple(factors)
    conditions = tuple(axis for axis in results.conditions if axis not in factors)
    recipes = {recipe: number for number, recipe in enumerate(dict.fromkeys(levels_on(p, factors) for p in points))}
    named = [(levels_on(point, conditions), point.levels.get(SEED, "")) for point in points]
    units = {unit: number for number, unit in enumerate(sorted(dict.fromkeys(named)))}
    values = np.full((len(recipes), len(units)), np.nan)
    place: dict[tuple[str, str], int] = {}
    sizes: list[Floats] = []
    parts: list[tuple[int, int, list[tuple[int, float, Floats]] | None]] = []
    moves = np.zeros(len(recipes), dtype=bool)
    for point, unit in zip(points, named, strict=True):
        row, column = recipes[levels_on(point, factors)], units[unit]
        values[row, column] = value_of(point, measure)
        tasks = items.get(point.key, {})
        moves[row] |= not tasks or any(task.change.any() for task in tasks.values())
        found: list[tuple[int, float, Floats]] = []
        wanted = task_weights(point, measure)
        for task, weight in wanted:
            known = tasks.get(task)
            if known is None:
                break
            number = place.setdefault((task, known.items), len(place))
            if number == len(sizes):
                sizes.append(known.sizes)
            found.append((number, weight, known.change))
        parts.append((row, column, found if found and len(found) == len(wanted) else None))
    return Measured(
        measure=measure,
        factors=factors,
        recipes=tuple(recipes),
        units=tuple(units),
        values=values,
        changes=_changes(values, parts, sizes),
        sizes=np.concatenate(sizes) if sizes else np.zeros(0),
        task=np.repeat(np.arange(len(sizes)), [len(size) for size in sizes]),
        weights=_weights(len(units), len(sizes), parts),
        still=~moves,
    )


def _changes(
    values: Floats, parts: Sequence[tuple[int, int, list[tuple[int, float, Floats]] | None]], sizes: Sequence[Floats]
) -> Floats:
    """[recipes, units, images]; NaN where the items do not add up to the value, so that they are not its items."""
    begins = np.cumsum([0, *(len(size) for size in sizes)])
    changes = np.zeros((*values.shape, int(begins[-1])))
    for row, column, found in parts:
        if found is None:
            changes[row, column] = np.nan
            continue
        for number, weight, change in found:
            changes[row, column, begins[number] : begins[number + 1]] = (
                100 * weight / float(sizes[number].sum()) * change
            )
        if not math.isclose(float(changes[row, column].sum()), float(values[row, column]), abs_tol=0.01):
            changes[row, column] = np.nan
    return changes


def _weights(
    units: int, tasks: int, parts: Sequence[tuple[int, int, list[tuple[int, float, Floats]] | None]]
) -> Floats:
    weights = np.zeros((units, tasks))
    for _, column, found in parts:
        for number, weight, _ in found or ():
            weights[column, number] = weight
    return weights


def value_of(point: Point, measure: str) -> float | None:
    """A measure of a point; ``target_after`` is the mean score on the targets, for models whose bases differ."""
    if measure == "target_after":
        after = [float(row["after"]) for row in point.scores["target"].values()]
        return math.fsum(after) / len(after) if after else None
    value = point.scores.get(measure)
    return float(value) if isinstance(value, int | float) else None


def task_weights(point: Point, measure: str) -> list[tuple[str, float]]:
    """Tasks behind a measure of a point and their weights; none where it is no mean of changes."""
    if measure not in LINEAR:
        return []
    left_out = point.scores.get("left_out") or {}
    found: list[tuple[str, float]] = []
    for letter, part in (("E", "target"), ("F", "sources")):
        if measure in (letter, "O"):
            names = [name for name in point.scores[part] if name not in left_out.get(letter, ())]
            found += [(name, 1 / len(names)) for name in names]
    return found


def chosen(point: Point, where: Where) -> bool:
    """Whether a point stands on the levels that are looked at."""
    return all(point.levels.get(axis) in levels for axis, levels in where.items())


def levels_on(point: Point, axes: Sequence[str]) -> tuple[str, ...]:
    """Its levels on some axes; empty where it stands on none of an axis."""
    return tuple(point.levels.get(axis, "") for axis in axes)

"""The figures of the study page: recipes with their runs, means and intervals, seen over all targets or on one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.reports.charts.svg import PARADIGMS
from holdfast.reports.tables import source_mean, target_mean
from holdfast.results.items import Tasks
from holdfast.results.measured import Measured, Where, levels_on, measured
from holdfast.results.overview import recipe_name
from holdfast.results.points import SEED, Point, Results

Interval = tuple[float, float]
MOST_VIEWS = 12
MOST_ROWS = 600
"""Rows of the table over all views, beyond which only the mean over all conditions is shown."""

BASES = {
    "items and seeds": "95 % over items and seeds",
    "seeds": "95 % over seeds",
    "items": "95 % over items, of one seed",
}
"""What an interval carries -> how the page says it."""


@dataclass(frozen=True)
class Spread:
    """A figure of a recipe in points.

    Attributes:
        mean: Over targets, seeds and items.
        values: One a seed: its mean over targets.
        interval: 95 %, from :mod:`holdfast.results.variance`; ``None`` where nothing is known of the error.
        basis: What the interval carries, a key of :data:`BASES`; empty without one.
    """

    mean: float | None
    values: tuple[float, ...] = ()
    interval: Interval | None = None
    basis: str = ""


@dataclass(frozen=True)
class RecipeFigures:
    """One recipe in one view.

    Attributes:
        number: Its place on the page.
        name: Its levels on the factors that vary, joined.
        levels: Factor -> level.
        method: In a few words, as ``scores.json`` has it.
        paradigm: One of :data:`holdfast.reports.charts.svg.PARADIGMS`.
        runs: Its finished points.
        E, F, O, H, target, source: In points; the last two are scores after.
        target_before, source_before: Scores of the base.
        trainable_percent, seconds: Means.
        memory: Bytes that a training step is counted to need, where that is written down.
        peak: Bytes that training took at most, where that was measured.
        learned, forgot: Items, mean over runs.
        tasks: Task -> mean score before and after.
        missing: Targets that it was to be tried on, and others were, of which it has no run.
    """

    number: int
    name: str
    levels: Mapping[str, str]
    method: str
    paradigm: str
    runs: tuple[Point, ...]
    E: Spread
    F: Spread
    O: Spread  # noqa: E741 - the survey's letter
    H: Spread
    target: float | None
    source: float | None
    target_before: float | None
    source_before: float | None
    trainable_percent: float | None
    seconds: float | None
    memory: float | None
    peak: float | None
    learned: float
    forgot: float
    tasks: Mapping[str, Interval]
    missing: int = 0

    @property
    def seeds(self) -> int:
        """How many seeds stand behind the means."""
        return len(self.E.values)


@dataclass(frozen=True)
class View:
    """The recipes over all conditions, or on one of them.

    Attributes:
        name: Of the condition; ``all`` over all.
        title: For people.
        recipes: Those with a finished run.
        targets, sources: Names of the tasks, in the order met.
    """

    name: str
    title: str
    recipes: tuple[RecipeFigures, ...]
    targets: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def placed(self) -> tuple[RecipeFigures, ...]:
        """The recipes that have both a gain and a change of the sources."""
        return tuple(recipe for recipe in self.recipes if recipe.E.mean is not None and recipe.F.mean is not None)


@dataclass(frozen=True)
class StudyFigures:
    """All that the page draws.

    Attributes:
        results: What it is made from.
        views: Over all conditions first, then each of them.
        names: The recipes in the order of the study, those without a finished run included.
        number_of: Key of a point -> its recipe's place.
        floors: Task -> the best score without the image.
    """

    results: Results
    views: tuple[View, ...]
    names: tuple[str, ...]
    number_of: Mapping[str, int]
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def whole(self) -> View:
        """The view over all conditions."""
        return self.views[0]


def study_figures(results: Results, items: Mapping[str, Tasks] | None = None) -> StudyFigures:
    """Group the points by recipe and take the means.

    Args:
        results: The study.
        items: From :func:`holdfast.results.points.read_items`; without them intervals carry seeds only.
    """
    recipes: dict[tuple[str, ...], list[Point]] = {}
    for point in results.points:
        recipes.setdefault(levels_on(point, results.factors), []).append(point)
    names = _distinct([recipe_name(_levels(recipe, results), results) for recipe in recipes])
    rows = list(zip(names, recipes, recipes.values(), strict=True))
    # Only what has a finished run can be shown, or be missed by a recipe.
    conditions = {condition_of(point, results): _where(point, results) for point in results.finished}
    several = 1 < len(conditions) <= MOST_VIEWS and len(rows) * (len(conditions) + 1) <= MOST_ROWS
    title = f"mean over {len(conditions)} targets" if len(conditions) > 1 else next(iter(conditions), "")
    known = items or {}
    views = [_view("all", title, rows, {}, results, known)]
    if several:
        views += [_view(name, name, rows, where, results, known) for name, where in conditions.items()]
    return StudyFigures(
        results=results,
        views=tuple(views),
        names=tuple(names),
        number_of={point.key: number for number, (_, _, points) in enumerate(rows) for point in points},
        floors=_floors(results.finished),
    )


def condition_of(point: Point, results: Results) -> str:
    """What the point was tried on: its target, and its model where that varies."""
    levels = [point.levels.get(axis, "") for axis in results.conditions if len(results.axes[axis]) > 1]
    return ", ".join(levels) or point.levels.get("target", "") or next(iter(point.scores.get("target", {})), "")


def _where(point: Point, results: Results) -> Where:
    return {axis: (point.levels[axis],) for axis in results.conditions if axis in point.levels}


def seed_of(point: Point) -> str:
    """The seed by name; points of a study without seeds share one."""
    return point.levels.get(SEED, "")


def paradigm_of(entry: Mapping[str, Any]) -> str:
    """The paradigm as the page draws it: recipes of several are mixed, and what tunes nothing is a baseline."""
    written = str(entry.get("paradigm", ""))
    if " + " in written:
        return "mixed"
    return written if written in PARADIGMS else "baseline"


def _levels(recipe: Sequence[str], results: Results) -> dict[str, str]:
    return dict(zip(results.factors, recipe, strict=True))


def _distinct(names: Sequence[str]) -> list[str]:
    """Explicit points may share the levels that are shown; a number then tells them apart."""
    met: dict[str, int] = {}
    made = []
    for name in names:
        met[name] = met.get(name, 0) + 1
        made.append(name if met[name] == 1 else f"{name} ({met[name]})")
    return made


def _view(
    name: str,
    title: str,
    rows: Sequence[tuple[str, tuple[str, ...], list[Point]]],
    where: Where,
    results: Results,
    items: Mapping[str, Tasks],
) -> View:
    measures = {letter: measured(results, letter, items, where) for letter in "EFOH"}
    places = {letter: {recipe: at for at, recipe in enumerate(one.recipes)} for letter, one in measures.items()}
    there = {levels_on(point, results.conditions) for point in results.finished}
    recipes = []
    targets: dict[str, None] = {}
    sources: dict[str, None] = {}
    for number, (recipe, levels, points) in enumerate(rows):
        asked = [point for point in points if all(point.levels.get(axis) in ok for axis, ok in where.items())]
        kept = [point for point in asked if point.state == "finished"]
        if not kept:
            continue
        spreads = {letter: _spread(one, places[letter].get(levels)) for letter, one in measures.items()}
        own, wanted = ({levels_on(p, results.conditions) for p in some} for some in (kept, asked))
        missing = len((wanted & there) - own)
        recipes.append(_figures(number, recipe, _levels(levels, results), kept, spreads, missing))
        for point in kept:
            targets |= dict.fromkeys(point.scores["target"])
            sources |= dict.fromkeys(point.scores["sources"])
    plain = tuple(task for task in sources if task not in targets)
    return View(name, title, tuple(recipes), tuple(targets), plain)


def _spread(one: Measured, place: int | None) -> Spread:
    effect = None if place is None else one.mean(place)
    if effect is None or place is None:
        return Spread(None)
    seeds: dict[str, list[float]] = {}
    for (_, seed), value in zip(one.units, one.values[place], strict=True):
        if value == value:  # a training that is there
            seeds.setdefault(seed, []).append(float(value))
    # A seed counts where it has every target that the recipe has: means over different targets are no repetitions.
    most = max(map(len, seeds.values()))
    values = [statistics.fmean(found) for found in seeds.values() if len(found) == most]
    interval = effect.interval()
    return Spread(effect.value, tuple(values), interval, effect.basis if interval and effect.basis in BASES else "")


def _figures(
    number: int,
    name: str,
    levels: Mapping[str, str],
    points: Sequence[Point],
    spreads: Mapping[str, Spread],
    missing: int,
) -> RecipeFigures:
    entries = [point.scores for point in points]
    tasks: dict[str, list[Interval]] = {}
    for entry in entries:
        for task, row in [*entry["target"].items(), *entry["sources"].items()]:
            tasks.setdefault(task, []).append((float(row["before"]), float(row["after"])))
    return RecipeFigures(
        number=number,
        name=name,
        levels=levels,
        method=str(entries[0].get("method", "")),
        paradigm=paradigm_of(entries[0]),
        runs=tuple(points),
        E=spreads["E"],
        F=spreads["F"],
        O=spreads["O"],
        H=spreads["H"],
        target=_mean(target_mean(entry, "after") for entry in entries),
        source=_mean(source_mean(entry, "after") for entry in entries),
        target_before=_mean(target_mean(entry, "before") for entry in entries),
        source_before=_mean(source_mean(entry, "before") for entry in entries),
        trainable_percent=_mean(entry.get("trainable_percent") for entry in entries),
        seconds=_mean(entry.get("seconds") for entry in entries),
        memory=_mean(entry.get("memory") for entry in entries),
        peak=_mean(entry.get("peak_memory") for entry in entries),
        learned=_mean(entry.get("learned") for entry in entries) or 0.0,
        forgot=_mean(entry.get("forgot") for entry in entries) or 0.0,
        tasks={task: _pair_mean(pairs) for task, pairs in tasks.items()},
        missing=missing,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _pair_mean(pairs: Sequence[Interval]) -> Interval:
    return statistics.fmean(before for before, _ in pairs), statistics.fmean(after for _, after in pairs)


def _floors(points: Iterable[Point]) -> dict[str, float]:
    floors: dict[str, float] = {}
    for point in points:
        for task, row in [*point.scores["target"].items(), *point.scores["sources"].items()]:
            if task not in floors and (floor := row.get("blind_floor")):
                floors[task] = float(floor["score"])
    return floors

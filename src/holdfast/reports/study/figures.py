"""The figures of the study page: recipes with their runs, means and intervals, seen over all targets or on one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.reports.charts.svg import PARADIGMS
from holdfast.reports.tables import source_mean, target_mean
from holdfast.results.points import SEED, Point, Results
from holdfast.verdict.statistics.normal import student_quantile

Interval = tuple[float, float]
MOST_VIEWS = 12
MOST_ROWS = 1_500
"""Rows of the table over all views, beyond which only the mean over all conditions is shown."""


@dataclass(frozen=True)
class Spread:
    """A figure of a recipe in points: the mean, every seed's value, and an interval.

    Attributes:
        mean: Over seeds; each seed's value is its mean over targets.
        values: One a seed.
        interval: 95 %: Student's over seeds where there are several, else that over items of the one run.
        over: What the interval is over: ``seeds``, ``items`` or nothing.
    """

    mean: float | None
    values: tuple[float, ...] = ()
    interval: Interval | None = None
    over: str = ""


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
        trainable_percent, seconds, memory: Means; memory in bytes, where it is written down.
        learned, forgot: Items, mean over runs.
        tasks: Task -> mean score before and after.
        missing: How many of the targets it was to be tried on it has no run of.
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


def study_figures(results: Results) -> StudyFigures:
    """Group the points by recipe and take the means."""
    varying = [factor for factor in results.factors if len(results.axes[factor]) > 1] or list(results.factors)
    recipes: dict[tuple[tuple[str, str], ...], list[Point]] = {}
    for point in results.points:
        levels = tuple((factor, point.levels.get(factor, "")) for factor in results.factors)
        recipes.setdefault(levels, []).append(point)
    names = _distinct([_name(dict(levels), varying, points) for levels, points in recipes.items()])
    rows = list(zip(names, recipes, recipes.values(), strict=True))
    conditions = list(dict.fromkeys(condition_of(point, results) for point in results.points))
    several = 1 < len(conditions) <= MOST_VIEWS and len(rows) * (len(conditions) + 1) <= MOST_ROWS
    views = [_view("all", _title(conditions), rows, conditions, results)]
    views += [_view(name, name, rows, [name], results) for name in conditions if several]
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
    if levels:
        return ", ".join(levels)
    return point.levels.get("target", "") or next(iter(point.scores.get("target", {})), "")


def seed_of(point: Point) -> str:
    """The seed by name; points of a study without seeds share one."""
    return point.levels.get(SEED, "")


def paradigm_of(entry: Mapping[str, Any]) -> str:
    """The paradigm as the page draws it: recipes of several are mixed, and what tunes nothing is a baseline."""
    written = str(entry.get("paradigm", ""))
    if " + " in written:
        return "mixed"
    return written if written in PARADIGMS else "baseline"


def spread(values: Sequence[float], *, items: Sequence[float] | None = None) -> Spread:
    """Mean and interval over seeds; of one seed, the interval over its items."""
    if not values:
        return Spread(None)
    mean = statistics.fmean(values)
    if len(values) == 1:
        known = None if items is None else (float(items[0]), float(items[1]))
        return Spread(mean, tuple(values), known, "items" if known else "")
    half = student_quantile(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return Spread(mean, tuple(values), (mean - half, mean + half), "seeds")


def _name(levels: Mapping[str, str], varying: Sequence[str], points: Sequence[Point]) -> str:
    if not varying:
        return next((str(p.scores["name"]) for p in points if p.scores.get("name")), "the recipe")
    return " · ".join(levels[factor] for factor in varying if levels[factor]) or "no levels"


def _distinct(names: Sequence[str]) -> list[str]:
    """Explicit points may share the levels that are shown; a number then tells them apart."""
    met: dict[str, int] = {}
    made = []
    for name in names:
        met[name] = met.get(name, 0) + 1
        made.append(name if met[name] == 1 else f"{name} ({met[name]})")
    return made


def _title(conditions: Sequence[str]) -> str:
    return f"mean over {len(conditions)} targets" if len(conditions) > 1 else (conditions[0] if conditions else "")


def _view(
    name: str,
    title: str,
    rows: Sequence[tuple[str, tuple[tuple[str, str], ...], list[Point]]],
    conditions: Sequence[str],
    results: Results,
) -> View:
    recipes = []
    targets: dict[str, None] = {}
    sources: dict[str, None] = {}
    wanted = set(conditions)
    for number, (recipe, levels, points) in enumerate(rows):
        own = [(condition_of(point, results), point) for point in points if point.state == "finished"]
        asked = {condition for point in points if (condition := condition_of(point, results)) in wanted}
        kept = [(condition, point) for condition, point in own if condition in wanted]
        if not kept:
            continue
        recipes.append(_figures(number, recipe, dict(levels), kept, len(asked)))
        for _, point in kept:
            targets |= dict.fromkeys(point.scores["target"])
            sources |= dict.fromkeys(point.scores["sources"])
    plain = tuple(task for task in sources if task not in targets)
    return View(name, title, tuple(recipes), tuple(targets), plain)


def _figures(
    number: int, name: str, levels: Mapping[str, str], kept: Sequence[tuple[str, Point]], asked: int
) -> RecipeFigures:
    by_seed: dict[str, dict[str, Mapping[str, Any]]] = {}
    for condition, point in kept:
        by_seed.setdefault(seed_of(point), {})[condition] = point.scores
    there = {condition for condition, _ in kept}
    # A seed counts where it has every target that the recipe has: means over different targets are no repetitions.
    whole = [list(runs.values()) for runs in by_seed.values() if len(runs) == len(there)]
    complete = whole or [[point.scores for _, point in kept]]
    entries = [point.scores for _, point in kept]
    tasks: dict[str, list[Interval]] = {}
    for entry in entries:
        for task, row in [*entry["target"].items(), *entry["sources"].items()]:
            tasks.setdefault(task, []).append((float(row["before"]), float(row["after"])))

    def letter(which: str) -> Spread:
        values = [value for runs in complete if (value := _mean(run.get(which) for run in runs)) is not None]
        alone = len(complete) == 1 and len(complete[0]) == 1
        return spread(values, items=(complete[0][0].get("intervals") or {}).get(which) if alone else None)

    return RecipeFigures(
        number=number,
        name=name,
        levels=levels,
        method=str(entries[0].get("method", "")),
        paradigm=paradigm_of(entries[0]),
        runs=tuple(point for _, point in kept),
        E=letter("E"),
        F=letter("F"),
        O=letter("O"),
        H=letter("H"),
        target=_mean(target_mean(entry, "after") for entry in entries),
        source=_mean(source_mean(entry, "after") for entry in entries),
        target_before=_mean(target_mean(entry, "before") for entry in entries),
        source_before=_mean(source_mean(entry, "before") for entry in entries),
        trainable_percent=_mean(entry.get("trainable_percent") for entry in entries),
        seconds=_mean(entry.get("seconds") for entry in entries),
        memory=_mean(entry.get("peak_memory") for entry in entries),
        learned=_mean(entry.get("learned") for entry in entries) or 0.0,
        forgot=_mean(entry.get("forgot") for entry in entries) or 0.0,
        tasks={task: _pair_mean(pairs) for task, pairs in tasks.items()},
        missing=asked - len(there),
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

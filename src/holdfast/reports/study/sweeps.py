"""Gain and forgetting along every factor whose levels are numbers: training lengths, mask ratios, ranks, data sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from holdfast.reports.charts.lines import Axes, LinePoint, Series, lines_chart
from holdfast.reports.charts.svg import Chart
from holdfast.reports.study.figures import BASES, RecipeFigures, Spread, View
from holdfast.results.curves import over_trainings, retention
from holdfast.results.during import over_training
from holdfast.results.items import Tasks
from holdfast.results.measured import levels_on
from holdfast.results.points import CONDITIONS, Results

_NUMBER = re.compile(r"[A-Za-z_ =]*([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?) ?%?")
LETTERS = (("E", "gain on the target, points"), ("F", "change on the sources, points"))
KEPT = "sources kept, % of before"


def sweep_charts(view: View, axes: Mapping[str, Sequence[str]]) -> dict[str, list[Chart]]:
    """Factor -> a chart of E and one of F along it, a line for each setting of the other factors."""
    found: dict[str, list[Chart]] = {}
    for factor, levels in axes.items():
        values = {level: value for level in levels if (value := _value(level)) is not None}
        if len(set(values.values())) < 2 or len(values) < len(levels):
            continue
        lines = _lines(view.recipes, factor)
        if all(len(line) < 2 for line in lines.values()):
            continue
        positive = min(values.values()) > 0
        ratio = max(values.values()) / min(values.values()) if positive else 0.0
        charts = []
        for letter, title in LETTERS:
            series = [_series(name, line, factor, values, letter) for name, line in lines.items()]
            series = [one for one in series if one.points]
            if series:
                known = {getattr(recipe, letter).basis for recipe in view.recipes}
                bars = " or ".join(words for basis, words in BASES.items() if basis in known) or "none"
                about = f"{letter} along {factor}, {view.title}. Bars: {bars}."
                words = Axes(factor, title, log_x=ratio >= 8, zero=True)
                charts.append(lines_chart(f"sweep-{factor}-{letter}", about, series, words))
        kept = [one for name, line in lines.items() if (one := _kept(name, line, factor, values)).points]
        if kept:
            about = f"Sources after in percent of before along {factor}, {view.title}. Bars: 95 % over seeds."
            charts.append(lines_chart(f"sweep-{factor}-kept", about, kept, Axes(factor, KEPT, log_x=ratio >= 8)))
        if charts:
            found[factor] = charts
    return found


def training_charts(results: Results, items: Mapping[str, Tasks], view: View) -> list[Chart]:
    """E and F over training, a line a recipe; none where no run was looked at before its end."""
    made = over_training(results, items)
    known = {tuple(recipe.levels.values()): recipe for recipe in view.recipes}
    charts = []
    for letter, title in LETTERS:
        series = []
        for curve in made:
            recipe = known[tuple(curve.recipe.values())]
            found = [(point.at, effect) for point in curve.points if (effect := getattr(point, letter)) is not None]
            points = [
                LinePoint(at, effect.value, effect.interval(), f"#run={recipe.runs[0].key}") for at, effect in found
            ]
            series.append(Series(recipe.name, points, recipe.paradigm, recipe.number))
        if any(len(line.points) > 1 for line in series):
            bases = {effect.basis for curve in made for point in curve.points if (effect := getattr(point, letter))}
            bars = " or ".join(words for basis, words in BASES.items() if basis in bases) or "none"
            about = f"{letter} over training, {view.title}. Bars: {bars}."
            charts.append(lines_chart(f"during-{letter}", about, series, Axes("step", title, zero=True)))
    return charts


def _value(level: str) -> float | None:
    match = _NUMBER.fullmatch(level)
    return None if match is None else float(match[1])


def _lines(recipes: Sequence[RecipeFigures], factor: str) -> dict[str, list[RecipeFigures]]:
    """Recipes that differ on this factor alone, by the levels of the others, without those that move with it."""
    others = []
    for other in recipes[0].levels if recipes else ():
        if other == factor:
            continue
        together: dict[str, set[str]] = {}
        for recipe in recipes:
            together.setdefault(recipe.levels[factor], set()).add(recipe.levels[other])
        apart = len({recipe.levels[other] for recipe in recipes}) > 1
        if apart and any(len(levels) > 1 for levels in together.values()):
            others.append(other)
    lines: dict[str, list[RecipeFigures]] = {}
    for recipe in recipes:
        lines.setdefault(" / ".join(recipe.levels[other] for other in others) or factor, []).append(recipe)
    return lines


def _series(name: str, line: Sequence[RecipeFigures], factor: str, values: Mapping[str, float], letter: str) -> Series:
    points = []
    for recipe in sorted(line, key=lambda one: values.get(one.levels[factor], 0.0)):
        figure: Spread = getattr(recipe, letter)
        if figure.mean is not None and recipe.levels[factor] in values:
            href = f"#run={recipe.runs[0].key}"
            points.append(LinePoint(values[recipe.levels[factor]], figure.mean, figure.interval, href))
    return Series(name, points, line[0].paradigm)


def _kept(name: str, line: Sequence[RecipeFigures], factor: str, values: Mapping[str, float]) -> Series:
    """The retention curve of one line: what the sources kept, mean over trainings."""
    points = []
    for recipe in sorted(line, key=lambda one: values.get(one.levels[factor], 0.0)):
        groups: dict[tuple[str, ...], list[float]] = {}
        for point in recipe.runs:
            value = retention(point)
            if value is not None:
                groups.setdefault(levels_on(point, CONDITIONS), []).append(value)
        if groups and recipe.levels[factor] in values:
            effect = over_trainings(list(groups.values()))
            href = f"#run={recipe.runs[0].key}"
            points.append(LinePoint(values[recipe.levels[factor]], effect.value, effect.interval(), href))
    return Series(name, points, line[0].paradigm)

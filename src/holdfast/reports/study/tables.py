"""The tables of the study page as plain values: recipes, tasks by recipes, seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from holdfast.reports.charts.forest import forest_row, forest_scale
from holdfast.reports.charts.slopes import Slope, slopes_panel
from holdfast.reports.charts.svg import Chart
from holdfast.reports.numbers import between, in_bytes, number
from holdfast.reports.study.figures import RecipeFigures, Spread, StudyFigures, View
from holdfast.reports.tables import percent

MOST_HEAT_ROWS = 300
MOST_FOREST_ROWS = 300
MOST_PANELS = 24


@dataclass(frozen=True)
class FigureCell:
    """What stands in a cell, what it is sorted by, and what stands small below it."""

    text: str
    value: float | str
    small: str = ""
    tone: str = ""


@dataclass(frozen=True)
class RecipeRow:
    """One recipe in a table of the page."""

    number: int
    name: str
    paradigm: str
    href: str
    title: str
    cells: Sequence[FigureCell]


COLUMNS = (
    ("E", "mean change on the targets, points"),
    ("F", "mean change on the sources, points; negative is forgetting"),
    ("O", "E + F"),
    ("H", "harmonic mean of target and source score after tuning"),
    ("target", "mean score on the targets, before → after"),
    ("sources", "mean score on the sources, before → after"),
    ("learned", "items that turned right, mean over runs"),
    ("forgot", "items that turned wrong, mean over runs"),
    ("runs", "finished runs"),
    ("train %", "share of the parameters that train"),
    ("s", "seconds of training, mean over runs"),
)
RANK = (
    "rank",
    "places that it may have by O; recipes whose ranks overlap cannot be told apart (Holm over all pairs, 5 %)",
)
MEMORY = ("memory", "what a training step of the longest rows is counted to need")
PEAK = ("peak", "what training took at most, measured, with the weights; mean over the runs of which it is known")
_LEAST = -1e9


def recipe_columns(figures: StudyFigures, *, ranks: bool) -> list[tuple[str, str]]:
    """Headings and what they mean; memory where any run has written it down, ranks where pairs were compared."""
    recipes = figures.whole.recipes
    counted = [MEMORY] if any(recipe.memory is not None for recipe in recipes) else []
    measured = [PEAK] if any(recipe.peak is not None for recipe in recipes) else []
    return [*([RANK] if ranks else []), *COLUMNS, *counted, *measured]


def recipe_rows(
    view: View, columns: Sequence[tuple[str, str]], ranks: Mapping[tuple[str, ...], tuple[str, float]]
) -> list[RecipeRow]:
    """The table of recipes, in the order of the study, under :func:`recipe_columns`; ranks are of all targets."""
    return [_recipe_row(recipe, columns, ranks) for recipe in view.recipes]


def _recipe_row(
    recipe: RecipeFigures, columns: Sequence[tuple[str, str]], ranks: Mapping[tuple[str, ...], tuple[str, float]]
) -> RecipeRow:
    seeds = f"{recipe.seeds} seeds" if recipe.seeds > 1 else ""
    share = recipe.trainable_percent
    cells = [
        *(_spread_cell(getattr(recipe, letter), sign=letter != "H") for letter in "EFOH"),
        _arrow(recipe.target_before, recipe.target),
        _arrow(recipe.source_before, recipe.source),
        FigureCell(f"{recipe.learned:,.0f}", recipe.learned),
        FigureCell(f"{recipe.forgot:,.0f}", recipe.forgot),
        FigureCell(f"{len(recipe.runs):,}", len(recipe.runs), seeds),
        FigureCell("–" if share is None else percent(share), _LEAST if share is None else share),
        FigureCell("–" if recipe.seconds is None else f"{recipe.seconds:,.0f}", recipe.seconds or _LEAST),
    ]
    if RANK in columns:
        cells.insert(0, FigureCell(*ranks.get(tuple(recipe.levels.values()), ("–", -_LEAST))))
    for heading, size in ((MEMORY, recipe.memory), (PEAK, recipe.peak)):
        if heading in columns:
            cells.append(FigureCell("–" if size is None else in_bytes(size), size or _LEAST))
    return RecipeRow(recipe.number, recipe.name, recipe.paradigm, _href(recipe), recipe.method, cells)


def _arrow(before: float | None, after: float | None) -> FigureCell:
    if before is None or after is None:
        return FigureCell("–", _LEAST)
    return FigureCell(f"{before:.0f}→{after:.0f}", after)


def _spread_cell(spread: Spread, *, sign: bool) -> FigureCell:
    tone = ""
    if sign and spread.mean is not None and spread.interval:
        tone = "up" if spread.interval[0] > 0 else "down" if spread.interval[1] < 0 else ""
    small = between(spread.interval, sign=sign)
    return FigureCell(number(spread.mean, sign=sign), _LEAST if spread.mean is None else spread.mean, small, tone)


def _href(recipe: RecipeFigures) -> str:
    return f"#run={recipe.runs[0].key}"


@dataclass(frozen=True)
class HeatCell:
    """A change in points, how deep its colour is (0 to 100), and what the pointer is told."""

    text: str
    tone: str
    depth: int
    tip: str


@dataclass(frozen=True)
class HeatMap:
    """Tasks by recipes.

    Attributes:
        tasks: ``(name, role)`` of the columns.
        before: Score of the base a task; mean over runs.
        blind: Best score without the image a task.
        rows: A recipe each, with its cells.
        left_out: Recipes beyond what is drawn.
    """

    tasks: Sequence[tuple[str, str]]
    before: Sequence[str]
    blind: Sequence[str]
    rows: Sequence[tuple[RecipeFigures, str, Sequence[HeatCell]]]
    left_out: int


def heat_map(figures: StudyFigures) -> HeatMap:
    """Change in points of every task under every recipe."""
    view = figures.whole
    tasks = [(name, "target") for name in view.targets] + [(name, "source") for name in view.sources]
    shown = view.recipes[:MOST_HEAT_ROWS]
    changes = [abs(after - before) for recipe in shown for before, after in recipe.tasks.values()]
    most = max([10.0, *changes])
    before = []
    for name, _ in tasks:
        known = [recipe.tasks[name][0] for recipe in shown if name in recipe.tasks]
        before.append(number(sum(known) / len(known)) if known else "–")
    rows = []
    for recipe in shown:
        cells = [_heat_cell(recipe, name, most) for name, _ in tasks]
        rows.append((recipe, _href(recipe), cells))
    blind = [number(figures.floors.get(name)) for name, _ in tasks]
    return HeatMap(tasks, before, blind, rows, len(view.recipes) - len(shown))


def _heat_cell(recipe: RecipeFigures, task: str, most: float) -> HeatCell:
    if task not in recipe.tasks:
        return HeatCell("", "", 0, "")
    before, after = recipe.tasks[task]
    change = after - before
    depth = round(100 * (abs(change) / most) ** 0.6)
    tone = "up" if change > 0 else "down"
    tip = f"{recipe.name}\n{task}: {number(before)} → {number(after)}"
    return HeatCell(number(change, sign=True), tone, depth, tip)


def slope_panels(figures: StudyFigures) -> list[tuple[str, str, Chart]]:
    """``(task, role, panel)`` of the first tasks, targets before sources."""
    view = figures.whole
    panels = []
    for name in [*view.targets, *view.sources][:MOST_PANELS]:
        slopes = [
            Slope(recipe.name, recipe.number, recipe.paradigm, *recipe.tasks[name])
            for recipe in view.recipes
            if name in recipe.tasks
        ]
        if slopes:
            role = "target" if name in view.targets else "source"
            panels.append((name, role, slopes_panel(name, slopes, floor=figures.floors.get(name))))
    return panels


@dataclass(frozen=True)
class ForestRow:
    """Both figures of one recipe with every seed."""

    recipe: RecipeFigures
    href: str
    E: tuple[FigureCell, Markup]
    F: tuple[FigureCell, Markup]


def forest_rows(view: View) -> list[ForestRow]:
    """A row a recipe that has both figures; the scale is one for all rows."""
    placed = view.placed[:MOST_FOREST_ROWS]
    scales = {}
    for letter in "EF":
        spreads: list[Spread] = [getattr(recipe, letter) for recipe in placed]
        values = [value for spread in spreads for value in (*spread.values, *(spread.interval or ()))]
        scales[letter] = forest_scale(values or [0.0])
    rows = []
    for recipe in placed:
        drawn = {}
        for letter in "EF":
            spread: Spread = getattr(recipe, letter)
            cell = _spread_cell(spread, sign=True)
            runs = spread.values if len(spread.values) > 1 else ()
            seeds = f"; seeds {', '.join(number(value, sign=True) for value in runs)}" if runs else ""
            about = f"{recipe.name}: {letter} {cell.text}{f' ({cell.small})' if cell.small else ''}{seeds}"
            picture = forest_row(
                scales[letter],
                mean=spread.mean or 0.0,
                interval=spread.interval,
                runs=runs,
                paradigm=recipe.paradigm,
                about=about,
            )
            drawn[letter] = (cell, picture)
        rows.append(ForestRow(recipe, _href(recipe), drawn["E"], drawn["F"]))
    return rows


def slope_table(view: View) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Before and after of every task under every recipe, for those who do not see the panels."""
    tasks = [*view.targets, *view.sources][:MOST_PANELS]
    rows = [
        (recipe.name, *(_ends(recipe.tasks[task]) if task in recipe.tasks else "" for task in tasks))
        for recipe in view.recipes[:MOST_HEAT_ROWS]
    ]
    return ("recipe", *tasks), rows


def _ends(pair: tuple[float, float]) -> str:
    return f"{number(pair[0])} → {number(pair[1])}"

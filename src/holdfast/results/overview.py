"""A study in sections of sentences and tables: recipes with ranks, tasks, factors, curves, sequences, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.results.claims.trial import ClaimTrial
from holdfast.results.costs import caption_table, cost_table, divergence_table, mean_of
from holdfast.results.curves import Curve, CurvePoint, curves, number_axes, sequences
from holdfast.results.during import STEP, over_training
from holdfast.results.factors import FactorEffect, interactions, main_effects
from holdfast.results.items import Tasks
from holdfast.results.measured import Measured, levels_on, measured
from holdfast.results.points import Point, Results
from holdfast.results.ranks import PairEffect, all_pairs, in_words, rank_ranges
from holdfast.results.tables import Cell, Column, ResultTable, in_unit
from holdfast.results.variance import Effect

MOST_PAIRS = 8
"""Recipes up to which every pair is printed; beyond, each is compared with the best."""


@dataclass(frozen=True)
class StudySection:
    """One part of a report.

    Attributes:
        title: Its head.
        sentences: What it says.
        tables: What it shows.
    """

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[ResultTable, ...] = ()


@dataclass(frozen=True)
class Standing:
    """One recipe among all.

    Attributes:
        recipe: Factor -> level.
        name: The levels in one line.
        E, F, O: Means over conditions, seeds and items.
        rank: The best and the worst place that it may have.
        spread: Standard deviations of E and F over seeds.
        seeds: Finished points.
    """

    recipe: Mapping[str, str]
    name: str
    E: Effect | None
    F: Effect | None
    O: Effect | None  # noqa: E741 - the survey's letter
    rank: tuple[int, int] | None
    spread: tuple[float | None, float | None]
    points: int


@dataclass(frozen=True)
class Aggregate:
    """The measures of a study, gathered once.

    Attributes:
        results: The study.
        items: Changes by item of its points.
        measures: ``E``, ``F``, ``O`` as arrays.
        pairs: Every pair of recipes on the measure that they are ranked by.
        standings: Every recipe, the best by O first.
        runs: Levels of a recipe -> its finished points.
    """

    results: Results
    items: Mapping[str, Tasks]
    measures: Mapping[str, Measured]
    pairs: tuple[PairEffect, ...]
    standings: tuple[Standing, ...]
    runs: Mapping[tuple[str, ...], Sequence[Point]]

    @property
    def ranked_by(self) -> str:
        """O; F of a study without a target that can rise, E of one without sources."""
        return ranked_by(self.measures)


def ranked_by(measures: Mapping[str, Measured]) -> str:
    """The first of O, F and E that any point has."""
    return next((letter for letter in "OFE" if measures[letter].recipes), "O")


def aggregate(results: Results, items: Mapping[str, Tasks]) -> Aggregate:
    """Gather and compare every recipe of a study.

    Args:
        results: The study.
        items: From :func:`holdfast.results.points.read_items`; empty: intervals carry seeds only.
    """
    measures = {letter: measured(results, letter, items) for letter in "EFO"}
    overall = measures[ranked_by(measures)]
    pairs = all_pairs(overall)
    ranks = dict(zip(overall.recipes, rank_ranges(len(overall.recipes), pairs), strict=True))
    runs: dict[tuple[str, ...], list[Point]] = {}
    for point in results.finished:
        runs.setdefault(levels_on(point, results.factors), []).append(point)
    standings = []
    for recipe, points in runs.items():
        means = {letter: _mean(one, recipe) for letter, one in measures.items()}
        spreads = [_spread(measures[letter], recipe) for letter in "EF"]
        standings.append(
            Standing(
                recipe=(named := dict(zip(results.factors, recipe, strict=True))),
                name=recipe_name(named, results),
                **means,
                rank=ranks.get(recipe),
                spread=(spreads[0], spreads[1]),
                points=len(points),
            )
        )
    standings.sort(key=_place)
    return Aggregate(results, items, measures, tuple(pairs), tuple(standings), runs)


def recipe_name(recipe: Mapping[str, str], results: Results) -> str:
    """The levels that vary, in one line; a study without factors has one recipe."""
    varied = [level for factor, level in recipe.items() if level and len(results.axes[factor]) > 1]
    return " / ".join(varied) or "the recipe"


def _place(standing: Standing) -> float:
    for effect in (standing.O, standing.F, standing.E):
        if effect is not None:
            return -effect.value
    return 1e9


def _mean(one: Measured, recipe: tuple[str, ...]) -> Effect | None:
    return one.mean(one.recipes.index(recipe)) if recipe in one.recipes else None


def _spread(one: Measured, recipe: tuple[str, ...]) -> float | None:
    return one.spread(one.recipes.index(recipe)) if recipe in one.recipes else None


def sections(whole: Aggregate) -> list[StudySection]:
    """Everything that is known of a study but its claims, the most important first."""
    results = whole.results
    found = [_opening(whole), _recipes(whole)]
    if len(whole.standings) > 1:
        found.append(_pairs(whole))
    found += [_by_condition(whole)] if len(results.conditions) else []
    more = (_factors(whole), _curves(whole), _sequences(results), _costs(whole))
    found += [section for section in more if section.tables]
    return found + ([_failed(results)] if results.failed else [])


def _opening(whole: Aggregate) -> StudySection:
    results = whole.results
    waiting = len(results.points) - len(results.finished) - len(results.failed)
    done = f"{len(results.finished)} of {len(results.points)} points are finished"
    rest = [f", {count} {word}" for count, word in ((len(results.failed), "failed"), (waiting, "wait")) if count]
    lines = [f"{done}{''.join(rest)}."]
    if results.about:
        lines.insert(0, results.about.strip())
    letter = whole.ranked_by
    by = {"O": "sum of gain and loss (O)", "E": "gain (E)", "F": "mean change of the sources (F)"}[letter]
    first = [standing for standing in whole.standings if standing.rank and standing.rank[0] == 1]
    if len(whole.standings) > 1 and first:
        shown = ", ".join(standing.name for standing in first[:6])
        more = f" and {len(first) - 6} more" if len(first) > 6 else ""
        if len(first) == 1:
            lines.append(f"{shown} has the highest {by}, clearly above every other recipe.")
        elif len(first) == len(whole.standings):
            lines.append(
                f"No order of the {len(first)} recipes by {letter} is shown: none is clearly better than another."
            )
        else:
            lines.append(
                f"{len(first)} of {len(whole.standings)} recipes share the first place by {letter}: {shown}{more}."
            )
    lines += _caveats(whole)
    return StudySection(results.title, tuple(lines))


def _caveats(whole: Aggregate) -> list[str]:
    lines = []
    bases = Counter(effect.basis for s in whole.standings for effect in (s.E, s.F) if effect is not None)
    if bases["items"]:
        lines.append(
            "With one seed the intervals carry items only: another training may differ by more than they say, and no "
            "recipes are told apart."
        )
    if bases["seeds"]:
        lines.append("Where predictions are gone the intervals carry seeds only.")
    if bases["nothing"]:
        lines.append("Where there is one seed and no predictions, no interval can be had.")
    tried = {
        recipe: frozenset(levels_on(p, whole.results.conditions) for p in runs) for recipe, runs in whole.runs.items()
    }
    usual = Counter(tried.values()).most_common(1)[0][0] if tried else frozenset()
    factors = whole.results.factors
    others = [
        recipe_name(dict(zip(factors, recipe, strict=True)), whole.results)
        for recipe, levels in tried.items()
        if levels != usual
    ]
    if others:
        shown = " and ".join(whole.results.conditions)
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        lines.append(
            f"{', '.join(others[:3])}{more} finished on other levels of {shown} than the rest: means of theirs are not "
            "of the same tasks; pairs, ranks, factors and claims compare only what both sides have."
        )
    early = sum(bool(point.scores.get("still_learning")) for point in whole.results.finished)
    if early:
        lines.append(f"{early} of {len(whole.results.finished)} trainings ended while the loss still fell.")
    leaks = sum(bool(point.scores.get("leaks")) for point in whole.results.finished)
    if leaks:
        lines.append(f"{leaks} points have test items that training had seen.")
    return lines


def _recipes(whole: Aggregate) -> StudySection:
    columns = (
        Column("rank"),
        Column("recipe"),
        Column("E", signed=True),
        Column("F", signed=True),
        Column("O", signed=True),
        Column("H"),
        Column("sd E"),
        Column("sd F"),
        Column("runs"),
        Column("train %", digits=3),
        Column("s", digits=0),
    )
    rows = tuple(
        (
            in_words(standing.rank) if standing.rank else None,
            standing.name,
            standing.E,
            standing.F,
            standing.O,
            _average(whole, standing, "H"),
            *standing.spread,
            standing.points,
            _average(whole, standing, "trainable_percent"),
            _average(whole, standing, "seconds"),
        )
        for standing in whole.standings
    )
    notes = (
        "E: mean change on the targets; F: on the sources; O = E + F; in points, with 95 % intervals over items and "
        "seeds. sd: over seeds. Recipes whose ranks overlap cannot be told apart (Holm over all pairs, 5 %).",
    )
    return StudySection("Recipes", (), (ResultTable("recipes", f"Recipes by {whole.ranked_by}", columns, rows, notes),))


def _average(whole: Aggregate, standing: Standing, name: str) -> float | None:
    return mean_of(whole.runs[tuple(standing.recipe.values())], name)


def _pairs(whole: Aggregate) -> StudySection:
    """Every pair, or where they are many, every recipe against the one of the highest O."""
    overall = whole.measures[whole.ranked_by]
    names = [recipe_name(dict(zip(overall.factors, r, strict=True)), whole.results) for r in overall.recipes]
    pairs = [pair for pair in whole.pairs if pair.effect is not None]
    best = whole.standings[0].name
    if len(names) > MOST_PAIRS:
        pairs = [pair for pair in pairs if best in (names[pair.first], names[pair.second])]
    rows: list[tuple[Cell, ...]] = []
    for pair in sorted(pairs, key=lambda pair: pair.p_holm):
        tested = pair.effect is not None and pair.effect.repeated  # one training each has no test
        p = pair.p_holm if tested else None
        rows.append((names[pair.first], names[pair.second], pair.effect, p, "yes" if pair.clear else "no"))
    columns = (
        Column("recipe"),
        Column("against"),
        Column(f"difference in {whole.ranked_by}", signed=True),
        Column("p (Holm)", digits=4, p_value=True),
        Column("told apart"),
    )
    count = len(whole.pairs)
    title = "Pairs, on the same items and seeds" if len(names) <= MOST_PAIRS else f"Against {best}"
    notes = (f"Holm's correction runs over all {count} pairs; the intervals are each for its pair alone.",)
    if all(row[3] is None for row in rows):
        notes = ("The intervals carry the items of one training each, so no pair is tested.",)
    return StudySection("Recipe against recipe", (), (ResultTable("pairs", title, columns, tuple(rows), notes),))


def _by_condition(whole: Aggregate) -> StudySection:
    """E and F of every recipe on every level of target and model."""
    results, tables = whole.results, []
    for axis in results.conditions:
        levels = results.axes[axis]
        if len(levels) < 2:
            continue
        for letter in "EF":
            parts = {level: measured(results, letter, whole.items, {axis: {level}}) for level in levels}
            rows = tuple(
                (s.name, *(_mean(one, tuple(s.recipe.values())) for one in parts.values())) for s in whole.standings
            )
            columns = (Column("recipe"), *(Column(level, signed=True) for level in levels))
            tables.append(ResultTable(f"{letter}-by-{axis}", f"{letter} by {axis}", columns, rows))
    tables += _sources(whole)
    return StudySection("Tasks", (), tuple(tables))


def _sources(whole: Aggregate) -> list[ResultTable]:
    """The change of every source, as means over runs."""
    names = dict.fromkeys(name for point in whole.results.finished for name in point.scores["sources"])
    if not names:
        return []
    rows = []
    for standing in whole.standings:
        points = whole.runs[tuple(standing.recipe.values())]
        cells: list[Cell] = [standing.name]
        for name in names:
            changes = [p.scores["sources"][name] for p in points if name in p.scores["sources"]]
            cells.append(sum(c["after"] - c["before"] for c in changes) / len(changes) if changes else None)
        rows.append(tuple(cells))
    columns = (Column("recipe"), *(Column(name, signed=True) for name in names))
    return [ResultTable("sources", "Change of every source, mean over runs", columns, tuple(rows))]


def _factors(whole: Aggregate) -> StudySection:
    axes = whole.results.axes
    varied = [factor for factor in whole.results.factors if len(axes[factor]) > 1]
    if len(varied) < 2:
        return StudySection("Factors")
    tables = []
    for letter in "EF":
        mains = main_effects(whole.measures[letter], axes)
        tables.append(_effects_table(f"main-{letter}", f"What each factor does to {letter}, on average", mains))
        inner = interactions(whole.measures[letter], axes)
        if inner:
            tables.append(_inner_table(f"interactions-{letter}", f"Where a factor acts otherwise on {letter}", inner))
    return StudySection("Factors", (), tuple(tables))


def _effects_table(name: str, title: str, effects: Sequence[FactorEffect]) -> ResultTable:
    columns = (
        Column("factor"),
        Column("level"),
        Column("against"),
        Column("pairs"),
        Column("effect", signed=True),
        Column("p (Holm)", digits=4, p_value=True),
    )
    rows = tuple((e.factor, e.level, e.against, e.cells, e.effect, e.p_holm) for e in effects)
    return ResultTable(name, title, columns, rows, ("Mean over the combinations of the other factors that have both.",))


def _inner_table(name: str, title: str, effects: Sequence[FactorEffect]) -> ResultTable:
    columns = (
        Column("factor"),
        Column("within"),
        Column("effect", signed=True),
        Column("less the mean", signed=True),
        Column("p (Holm)", digits=4, p_value=True),
    )
    rows = tuple(
        (
            f"{e.factor}: {e.level} less {e.against}",
            ", ".join(f"{axis} {level}" for axis, level in e.within.items()),
            e.effect,
            e.interaction,
            e.p_holm,
        )
        for e in effects
    )
    notes = ("Less the mean: the effect here less the mean of the effects within all levels; p is of that.",)
    return ResultTable(name, title, columns, rows, notes)


def _curves(whole: Aggregate) -> StudySection:
    results, items = whole.results, whole.items
    found = {axis: curves(results, items, axis) for axis in number_axes(results)}
    tables = [_curve_table(f"curve-{axis}", axis, f"Over {axis}", made, results) for axis, made in found.items()]
    if trained := over_training(results, items):
        tables.append(_curve_table("during", STEP, "Over training", trained, results))
    return StudySection("Curves", (), tuple(tables))


def _curve_table(name: str, axis: str, title: str, made: Sequence[Curve], results: Results) -> ResultTable:
    rows: list[tuple[Cell, ...]] = []
    for curve in made:
        recipe = recipe_name(curve.recipe, results)
        points = [point for point in curve.points if point.at or axis != STEP or _moved(point)]
        rows += [(recipe, f"{point.at:g}", point.E, point.F, point.kept) for point in points]
    signed = (Column("E", signed=True), Column("F", signed=True))
    columns = (Column("recipe"), Column(axis), *signed, Column("kept %"))
    notes = ("Kept: sources after in percent of before; its interval is over seeds only.",)
    return ResultTable(name, title, columns, tuple(rows), notes)


def _moved(point: CurvePoint) -> bool:
    """Whether a method begins elsewhere than at the base."""
    return any(effect is not None and effect.error != 0 for effect in (point.E, point.F))


def _sequences(results: Results) -> StudySection:
    columns = (
        Column("recipe"),
        Column("seeds"),
        Column("average"),
        Column("backward", signed=True),
        Column("forgetting"),
        Column("forward", signed=True),
    )
    found = sequences(results)
    rows = tuple(
        (recipe_name(s.recipe, results), len(s.measures), s.average, s.backward, s.forgetting, s.forward) for s in found
    )
    if not rows:
        return StudySection("Sequence")
    title = f"Learned in turn: {', '.join(found[0].tasks)}"
    notes = ("Average after the last stage; backward and forward transfer and forgetting over T - 1; over seeds.",)
    return StudySection("Sequence", (), (ResultTable("sequence", title, columns, rows, notes),))


def _costs(whole: Aggregate) -> StudySection:
    runs = {standing.name: whole.runs[tuple(standing.recipe.values())] for standing in whole.standings}
    tables = (cost_table(runs), divergence_table(runs), caption_table(runs))
    return StudySection("Costs", (), tuple(table for table in tables if table is not None))


def claims_section(trials: Sequence[ClaimTrial]) -> StudySection:
    """What became of every claim that the study puts on trial."""
    columns = (
        Column("claim"),
        Column("ruling"),
        Column("effect"),
        Column("p (Holm)", digits=4, p_value=True),
        Column("sentence"),
    )
    rows: list[tuple[Cell, ...]] = []
    lines: list[str] = []
    for trial in trials:
        part = trial.weakest
        shown = None if part is None else in_unit(part.value, part.interval, part.unit)
        rows.append((trial.claim.name, trial.ruling, shown, trial.p_holm if part else None, trial.claim.sentence))
        lines.append(f"{trial.claim.sentence} Claim {trial.sentence}")
        if not trial.parts:  # nothing of ours stands beside it
            continue
        lines.append(f"Published ({trial.claim.paper}, {trial.claim.where}): {trial.claim.published}")
        if trial.claim.differs:
            lines.append(f"Differs: {trial.claim.differs}")
    tested = sum(bool(trial.parts) for trial in trials)
    notes = (
        f"{tested} of {len(trials)} claims are tested here; Holm's correction over them keeps the chance of any wrong "
        "ruling below 5 %. The effect is that of the comparison that speaks least for the claim, with its own 95 % CI.",
    )
    return StudySection(
        "Claims", tuple(lines), (ResultTable("claims", "Claims on trial", columns, tuple(rows), notes),)
    )


def _failed(results: Results) -> StudySection:
    columns = (Column("point"), Column("levels"), Column("reason"))
    rows = tuple(
        (point.key[:8], ", ".join(f"{axis} {level}" for axis, level in point.levels.items()), point.reason)
        for point in results.failed
    )
    return StudySection("Failed points", (), (ResultTable("failed", "Failed points", columns, rows),))

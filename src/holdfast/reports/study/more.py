"""Tables of the results that have no picture of their own: pairs, factors and their interplay, sequences, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.reports.explorer.section import Section
from holdfast.results.items import Tasks
from holdfast.results.overview import Aggregate, StudySection, aggregate
from holdfast.results.points import Results
from holdfast.results.ranks import in_words
from holdfast.results.tables import Cell, Column, ResultTable, in_cell

MOST_RECIPES = 80
"""Recipes up to which every pair is compared for the page alone."""

SHOWN = ("Recipe against recipe", "Factors", "Sequence", "Costs")
MOST_ROWS = 200


def gathered(results: Results, items: Mapping[str, Tasks]) -> Aggregate | None:
    """Every pair of recipes compared, where they are few enough for it."""
    recipes = {tuple(point.levels.get(factor, "") for factor in results.factors) for point in results.finished}
    return aggregate(results, items) if 1 < len(recipes) <= MOST_RECIPES else None


def ranks_of(whole: Aggregate | None) -> dict[tuple[str, ...], tuple[str, float]]:
    """Levels of a recipe -> its rank by O in words, and what sorts it; recipes that cannot be told apart share one."""
    if whole is None:
        return {}
    return {
        tuple(standing.recipe.values()): (in_words(standing.rank), standing.rank[0] + standing.rank[1] / 1e4)
        for standing in whole.standings
        if standing.rank
    }


def more_sections(told: Sequence[StudySection]) -> list[Section]:
    """The tables of these sections that no picture shows, folded."""
    found = []
    for section in told:
        if section.title in SHOWN:
            made = [_section(table) for table in section.tables]
            found += [replace(one, text=" ".join([*section.sentences, one.text]).strip()) for one in made]
    return found


def _section(table: ResultTable) -> Section:
    rows = [
        [_in_page(cell, column) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows[:MOST_ROWS]
    ]
    cut = len(table.rows) - len(rows)
    notes = [*table.notes, f"{cut:,} more rows are not shown." if cut > 0 else ""]
    return Section(
        table.title,
        text=" ".join(note for note in notes if note),
        columns=[column.name for column in table.columns],
        rows=rows,
        folded=True,
    )


def _in_page(cell: Cell, column: Column) -> str:
    return cell if isinstance(cell, str) else in_cell(cell, column, "markdown").replace("-", "−")

"""Published cells beside ours, as far as their rows and our recipes have the same name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.reports.explorer.section import Section
from holdfast.reports.numbers import number
from holdfast.reports.study.figures import RecipeFigures
from holdfast.values import JSON

OURS = "Ours are changes in points at this study's scale, E and F; the others are as their table has them."


def published_sections(published: JSON, recipes: Sequence[RecipeFigures]) -> list[Section]:
    """A section a table.

    Args:
        published: Name of a table -> ``columns``, ``rows`` (name -> cells) and ``differs``; ``differs`` may also stand
            beside the tables, and what has another form is shown as it is.
        recipes: Ours.
    """
    tables, lines = [], []
    for name, table in published.items():
        if isinstance(table, Mapping) and isinstance(table.get("rows"), Mapping):
            tables.append(_table(str(name), table, recipes))
        else:
            lines.append(f"{str(name)[:1].upper()}{str(name)[1:]}: {_text(table)}.")
    if not tables:
        return [Section("Published", lines=lines)] if lines else []
    first, *rest = tables
    return [replace(first, lines=lines), *rest]


def _table(name: str, table: Mapping[str, object], recipes: Sequence[RecipeFigures]) -> Section:
    named = table["rows"]
    assert isinstance(named, Mapping)
    rows = {str(row): list(cells) if isinstance(cells, list | tuple) else [cells] for row, cells in named.items()}
    width = max((len(cells) for cells in rows.values()), default=0)
    given = table.get("columns")
    heads = [str(column) for column in given] if isinstance(given, list | tuple) else []
    heads += [""] * (width - len(heads))
    ours = {row: recipe for row in rows if (recipe := _same(row, recipes)) is not None}
    written = []
    for row, cells in rows.items():
        shown: list[str] = [row, *(_text(cell) for cell in cells), *["–"] * (len(heads) - len(cells))]
        if ours:
            recipe = ours.get(row)
            shown += ["–", "–"] if recipe is None else [number(x.mean, sign=True) for x in (recipe.E, recipe.F)]
        written.append(shown)
    differs = f"Differs: {_text(table['differs'])}." if table.get("differs") else ""
    return Section(
        f"Published: {name}",
        text=" ".join(part for part in (differs, OURS if ours else "") if part),
        columns=["published", *heads, *(("ours, E", "ours, F") if ours else ())],
        rows=written,
    )


def _same(row: str, recipes: Sequence[RecipeFigures]) -> RecipeFigures | None:
    """The one recipe whose name has the words of a row; none where there is none or more than one."""
    found = [recipe for recipe in recipes if _words(recipe.name) == _words(row)]
    return found[0] if len(found) == 1 else None


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9.]+", name.lower()))


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value).rstrip(".") if isinstance(value, str) else str(value)
    if isinstance(value, int | float):
        return f"{value:,.6g}".replace("-", "−")
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
    return str(value)

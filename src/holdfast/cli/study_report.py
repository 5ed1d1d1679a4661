"""``holdfast study report``: what a study says, as text, Markdown, CSV, LaTeX or a page."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.results.overview import StudySection
    from holdfast.results.tables import Format


def report(
    folder: Annotated[Path, typer.Argument(help="the study folder, --out of holdfast study run")],
    form: Annotated[str, typer.Option("--format", help="text, markdown, csv or latex")] = "text",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="a file for text and markdown, a folder of tables for csv and latex"),
    ] = None,
    claim: Annotated[
        list[str] | None, typer.Option(help="put this claim on trial instead of the study's own; may be repeated")
    ] = None,
    table: Annotated[list[str] | None, typer.Option(help="only this table, by name; may be repeated")] = None,
    html: Annotated[
        bool | None,
        typer.Option("--html/--no-html", help="write report.html and pareto.png, .svg into FOLDER; default: with text"),
    ] = None,
) -> None:
    """Recipes with shared ranks, pairs, tasks, factors, curves and claims, with intervals over items and seeds."""
    from holdfast.errors import HoldfastError, nearest
    from holdfast.results.claims.trial import put_on_trial
    from holdfast.results.overview import aggregate, claims_section, sections
    from holdfast.results.points import read_items, read_results
    from holdfast.results.tables import FORMATS

    if form not in FORMATS:
        raise HoldfastError(f"unknown format '{form}'", remedy=nearest(form, FORMATS))
    chosen: Format = next(known for known in FORMATS if known == form)
    results = read_results(folder)
    items = read_items(results)
    whole = aggregate(results, items)
    told = sections(whole)
    found = list(told)
    names = claim or list(results.claims)
    trials = put_on_trial(results, items, names) if names else []
    if names:
        found.append(claims_section(trials))
    known = [one.name for section in found for one in section.tables]
    for name in table or ():
        if name not in known:
            raise HoldfastError(f"the report has no table '{name}'", remedy=nearest(name, known))
    _write(found, chosen, out, set(table or known), whole=not table)
    if html or (html is None and form == "text" and not table):
        from holdfast.reports.study import write_study_page

        print(f"Page: {write_study_page(results, folder, items=items, whole=whole, told=told, trials=trials)}")


def _write(found: Sequence[StudySection], form: Format, out: Path | None, names: set[str], *, whole: bool) -> None:
    from holdfast.errors import HoldfastError
    from holdfast.files import write_text
    from holdfast.results.tables import rendered

    tables = [table for section in found for table in section.tables if table.name in names]
    if form in ("csv", "latex"):
        if out is None:
            if len(tables) > 1 and form == "csv":
                listed = ", ".join(table.name for table in tables)
                raise HoldfastError(
                    f"one CSV holds one table, and the report has {len(tables)}",
                    remedy=f"give --out FOLDER, or --table NAME, one of {listed}",
                )
            print("\n".join(rendered(table, form) for table in tables), end="")
            return
        ending = {"csv": "csv", "latex": "tex"}[form]
        for table in tables:
            write_text(out / f"{table.name.replace('/', '-')}.{ending}", rendered(table, form))
        print(f"Wrote {len(tables)} tables to {out}.")
        return
    parts = []
    for number, section in enumerate(found):
        shown = [rendered(table, form) for table in section.tables if table.name in names]
        said = section.sentences if whole else ()
        if said or shown:
            parts.append("\n".join([*_head(section.title, form, number == 0), *_said(said, form), *shown]))
    text = "\n".join(parts)
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
        print(f"Wrote {out}.")


def _head(title: str, form: Format, first: bool) -> list[str]:
    if form == "markdown":
        return [f"{'#' if first else '##'} {title}", ""]
    return [title, "=" * len(title)] if first else [title, "-" * len(title)]


def _said(sentences: Sequence[str], form: Format) -> list[str]:
    if form == "markdown":
        return [line for sentence in sentences for line in (sentence, "")]
    width = min(100, shutil.get_terminal_size().columns)
    lines = [textwrap.fill(sentence, width, break_on_hyphens=False) for sentence in sentences]
    return [*lines, ""] if lines else []

"""``holdfast score``: an official metric over a prediction file, in words or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from holdfast.predictions.record import Score
    from holdfast.verdict.floors import BlindFloor

_WIDTH = 80
_ROWS = 14
"""Longest table of one kind that is printed; JSON has them all."""


def score(
    task: Annotated[str, typer.Argument(help="Task, such as scienceqa, vqav2, pope, coco_captions; or a metric.")],
    predictions: Annotated[Path, typer.Argument(help="Answers, in any layout that compare reads.")],
    references: Annotated[
        Path | None, typer.Option("--references", "-r", help="Official references: a file, or a folder of them.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Variant of the metric, such as official or legacy.")] = None,
    metric: Annotated[str | None, typer.Option(help="Another metric than the task's own.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=COLUMN of a plain table, e.g. prediction=said; may be repeated.")
    ] = None,
    intersect: Annotated[bool, typer.Option("--intersect", help="Score only the items that both files have.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write one scored JSON line an item here, for holdfast compare.")
    ] = None,
) -> None:
    """Score a prediction file of any tool by its task's official metric; no model is needed."""
    from holdfast.cli.compare import columns_of
    from holdfast.scoring import score as scoring
    from holdfast.verdict.floors import blind_floor

    reading = scoring.score_reading(
        task,
        predictions,
        references,
        metric=metric,
        variant=variant,
        intersect=intersect,
        columns=columns_of(column or []),
    )
    result = reading.totals[task]
    if out is not None:
        scoring.write_scored(out, reading)
    if as_json:
        typer.echo(json.dumps(result.to_json(), ensure_ascii=False, indent=2, allow_nan=False))
    else:
        # Only a mean of items on 0 to 1 has a floor that is a mean of items too.
        _show(result, blind_floor(reading.tasks[task]) if result.is_mean else None)


def _show(result: Score, floor: BlindFloor | None) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=_WIDTH, highlight=False)
    console.print(f"{result.task}: {result.score:.2f} ({result.metric}, variant {result.variant}, n = {result.n:,})")
    if floor is not None:
        console.print(f"Without the images {floor.how} would score {100 * floor.score:.2f}.")
    counts = {"missing": result.missing, "unparsed": result.unparsed, "truncated": result.truncated}
    if any(counts.values()):
        said = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        console.print(f"Of these, {said}: they count as they stand in the score.")
    else:
        console.print("Nothing was missing, unparsed or truncated.")
    lenient = result.details.get("lenient")
    if lenient is not None and result.is_mean and lenient > result.score + 0.005:
        console.print(f"Read leniently it would be {lenient:.2f}: the difference is format, not ability.")
    rows = list(_rows(result.details))
    if rows:
        table = Table(box=None, pad_edge=False)
        table.add_column("part")
        table.add_column("value", justify="right")
        table.add_column("n", justify="right")
        for name, value, n in rows:
            table.add_row(name, value, n)
        console.print()
        console.print(table)


def _rows(details: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every sub-score as (name, value, n), nested names joined by a slash."""
    for at, (name, value) in enumerate(details.items()):
        if prefix and at == _ROWS:
            yield f"{prefix}... {len(details) - at} more with --json", "", ""
            return
        title = f"{prefix}{name}"
        if isinstance(value, Mapping):
            if "score" in value and "n" in value:
                yield title, f"{value['score']:.2f}", f"{value['n']:,}"
            else:
                yield from _rows(value, f"{title} / ")
        elif isinstance(value, bool | str):
            yield title, str(value), ""
        elif isinstance(value, int):
            yield title, f"{value:,}", ""
        elif isinstance(value, float) and name != "lenient":
            yield title, f"{value:.4f}" if abs(value) <= 1 else f"{value:.2f}", ""

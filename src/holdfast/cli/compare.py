"""``holdfast compare``: what was gained, what was forgotten, and whether that is noise."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.errors import HoldfastError
from holdfast.files import write_json
from holdfast.values import JSON

if TYPE_CHECKING:
    from holdfast.verdict.runs import RunsComparison


def compare(
    base: Annotated[
        Path,
        typer.Argument(help="Before: predictions, or alone, a run folder that holds its base.", show_default=False),
    ],
    tuned: Annotated[
        list[Path] | None,
        typer.Argument(
            help="After, one or more: predictions or run folders.", metavar="[TUNED]...", show_default=False
        ),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Task that was tuned for; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for comparison.json and report.html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
    margin: Annotated[float, typer.Option(help="Points whose loss would be tolerated.")] = 1.0,
    confidence: Annotated[float, typer.Option(help="Of intervals and bounds.")] = 0.95,
    intersect: Annotated[bool, typer.Option("--intersect", help="Compare only shared items and tasks.")] = False,
    metric: Annotated[
        str | None, typer.Option(help="Score the files here, with this metric (NAME or NAME:VARIANT).")
    ] = None,
    references: Annotated[Path | None, typer.Option(help="Gold answers, for files that carry none.")] = None,
    task: Annotated[str | None, typer.Option(help="Name of the task, for a file that does not say.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=COLUMN of a plain table, e.g. score=acc; may be repeated.")
    ] = None,
    scale: Annotated[float, typer.Option(help="The value of a perfect score in the files.")] = 1.0,
    sequence: Annotated[
        str | None, typer.Option(help="TASK,TASK,...: TUNED are stages that learned these tasks in order.")
    ] = None,
    images: Annotated[list[Path] | None, typer.Option(help="Folder with the images, for the report.")] = None,
    seed: Annotated[int, typer.Option(help="Of the random signs of a test that cannot be exact.")] = 0,
) -> None:
    """What was gained, what was forgotten, item by item, and whether that is noise.

    One run folder alone is compared with the base that it holds. BASE and TUNED
    may be Holdfast run folders or prediction files, LLaVA answers, lmms-eval
    samples, VLMEvalKit tables, official result files of VQA, COCO captions, POPE,
    MME, ScienceQA and IconQA, or any JSONL, CSV or TSV with named columns. Items
    are paired by id.
    """
    from holdfast.verdict.compare import compare_runs

    for folder in images or ():
        if not folder.is_dir():
            raise HoldfastError("there is no such folder of images", file=folder, remedy="check the path")
    before, after = (base, tuned) if tuned else _run_and_its_base(base)
    runs = compare_runs(
        before,
        after,
        sequence=[name.strip() for name in sequence.split(",")] if sequence else None,
        target=target or None,
        margin=margin,
        confidence=confidence,
        intersect=intersect,
        metric=metric,
        references=references,
        task=task,
        columns=columns_of(column or []),
        scale=scale,
        seed=seed,
    )
    alone = len(runs.runs) == 1
    data = next(iter(runs.runs.values())).to_json() if alone else runs.to_json()
    if out is not None:
        _write(out, runs, data, images or [])
    if as_json:
        json.dump(data, sys.stdout, ensure_ascii=False, indent=1, allow_nan=False)
        print()
        return
    from rich.console import Console

    from holdfast.reports.verdict import print_comparison, print_runs

    console = Console(highlight=False)
    if alone:
        print_comparison(console, next(iter(runs.runs.values())))
    else:
        print_runs(console, runs)
    if out is not None:
        console.print(f"\nWrote {out / 'report.html'} and {out / 'comparison.json'}.", soft_wrap=True)


def _run_and_its_base(run: Path) -> tuple[Path, list[Path]]:
    """The two sides of ``compare RUN``.

    Raises:
        HoldfastError: No run folder, or one whose base or tuned model has not been asked yet.
    """
    base = run / "base"
    if not base.is_dir() and not (run / "config.yaml").is_file():
        within = sorted(str(place.parent) for place in run.glob("*/base") if place.is_dir())
        raise HoldfastError(
            "one argument alone is a run folder, and this is none" if run.exists() else "there is no such run folder",
            file=run,
            remedy=f"did you mean {', '.join(within[:6])}?" if within else "give BASE and TUNED, two prediction sets",
        )
    for side, who in ((base, "base"), (run, "tuned model")):
        if not any((side / "predictions").glob("*.jsonl")):
            raise HoldfastError(
                f"the run holds no predictions of its {who}",
                file=run,
                remedy="give its holdfast tune command again; it goes on where it stopped",
            )
    return base, [run]


def columns_of(settings: list[str]) -> dict[str, str]:
    """``FIELD=COLUMN`` settings as a mapping."""
    columns = {}
    for setting in settings:
        field, equals, column = setting.partition("=")
        if not equals or not field or not column:
            raise HoldfastError(f"'--column {setting}' is not FIELD=COLUMN", remedy="write --column score=acc")
        columns[field.strip()] = column.strip()
    return columns


def _write(out: Path, runs: RunsComparison, data: JSON, images: list[Path]) -> None:
    from holdfast.reports.explorer import write_report

    last = list(runs.runs.values())[-1]
    title = f"{last.base} against {last.tuned}" if len(runs.runs) == 1 else f"{last.base} against {len(runs.runs)} runs"
    write_report(out / "report.html", title, runs.runs, sequence=runs.sequence, images=images)
    write_json(out / "comparison.json", data)

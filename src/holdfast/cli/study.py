"""``holdfast study``: a grid of runs as one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.study_report import report
from holdfast.values import JSON

app = typer.Typer(no_args_is_help=True, add_completion=False)


app.command()(report)


@app.callback()
def study() -> None:
    """A grid of recipes, models, tasks and seeds that goes on where it stopped."""


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="a study file, or the name of one that holdfast study list shows")],
    out: Annotated[Path | None, typer.Option(help="study folder; default: runs/NAME")] = None,
    scale: Annotated[str | None, typer.Option(help="which of its scales; default: its first")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="a common setting (train.steps=20), or levels of an axis (axes.seed=[1,2])"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="processes; default: one a core for the pocket model, else one", min=1)
    ] = None,
    engine: Annotated[str, typer.Option(help="local, or ray for several machines")] = "local",
    part: Annotated[str | None, typer.Option(help="2/8: the second of eight shares, for job arrays")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="try again what has failed")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run, how long and in what memory")] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="with --dry-run: time a few steps on this machine")
    ] = False,
) -> None:
    """Run what a study has not run yet; the same command goes on where it stopped.

    A point that fails is written down with its reason while the others go on; the exit code is then 1.
    """
    from holdfast.cli.study_view import StudyView, conclude
    from holdfast.cli.terminal import console
    from holdfast.errors import HoldfastError, nearest
    from holdfast.stopping import exit_code
    from holdfast.studies.engine import Engine
    from holdfast.studies.library import find_study
    from holdfast.studies.studyfile import read_study_file

    if engine not in ("local", "ray"):
        raise HoldfastError(f"unknown engine '{engine}'", remedy=nearest(engine, ("local", "ray")))
    if calibrate and not dry_run:
        raise HoldfastError("--calibrate belongs to --dry-run", remedy="add --dry-run, or leave it out")
    share = part_of(part)
    file, base = find_study(study)
    read = read_study_file(file, overrides=set_ or [], scale=scale, base=base)
    if dry_run:
        from holdfast.cli.study_plan import show_plan

        show_plan(read, calibrate=calibrate, workers=workers)
        return
    folder = out or Path("runs") / "-".join(filter(None, (file.stem, read.scale)))
    view = StudyView(read.title)
    work = Engine(read, folder, listen=view, part=share, retry=retry_failed)
    work.plan()
    if not work.complete:
        from holdfast.studies.hiring import hire

        crew = hire(folder, work.agenda, engine=engine, workers=workers)
        try:
            with view:
                work.run(crew)
        except KeyboardInterrupt:
            console.print(f"\nInterrupted. The study stands in {folder}; the same command goes on where it stopped.")
            raise SystemExit(exit_code()) from None
    raise SystemExit(conclude(folder, work))


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="the study folder, --out of holdfast study run")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """How far a study is: finished, failed and why, at work, and what was chosen on validation data."""
    from holdfast.cli.study_view import show_status
    from holdfast.studies.status import status_of

    found = status_of(folder)
    if as_json:
        import json

        print(json.dumps(found.to_json(), indent=1))
        return
    show_status(found)


@app.command("list")
def list_studies(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """The studies that come with Holdfast: the tables of both papers, and more."""
    import json

    from holdfast.cli.study_view import show_library
    from holdfast.studies.library import shipped_studies

    rows = shipped_studies()
    if as_json:
        described: list[JSON] = [
            {
                "name": row.name,
                "scale": row.scale,
                "title": row.study.title,
                "about": row.study.about,
                "points": len(row.study.cells),
                "axes": {name: list(axis.levels) for name, axis in row.study.axes.items()},
            }
            for row in rows
        ]
        print(json.dumps(described, indent=1))
        return
    show_library(rows)


def part_of(text: str | None) -> tuple[int, int]:
    """``2/8`` as two numbers.

    Raises:
        HoldfastError: It is none.
    """
    from holdfast.errors import HoldfastError

    if text is None:
        return 1, 1
    number, slash, count = text.partition("/")
    if not slash or not number.isdecimal() or not count.isdecimal() or not 1 <= int(number) <= int(count):
        raise HoldfastError(f"--part {text} is no part", remedy="write --part 2/8 for the second of eight")
    return int(number), int(count)

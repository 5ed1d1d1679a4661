"""``holdfast tune``: one run as a configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tune(
    config: Annotated[Path, typer.Argument(help="the recipe, a YAML file")],
    out: Annotated[Path | None, typer.Option(help="run folder; default: runs/NAME of the configuration")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="override a key: --set train.steps=100")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="leave bad examples out and record them")] = False,
) -> None:
    """Tune a model, evaluate it against its base, and write the run folder.

    The same command goes on where an interrupted one stopped.
    """
    from holdfast import api
    from holdfast.cli.terminal import Terminal, console
    from holdfast.reports.run_report import write_run_report
    from holdfast.reports.tables import recipe_table

    folder = out or Path("runs") / config.stem
    overrides = [*(set_ or []), *(["skip_bad=true"] if skip_bad else [])]
    try:
        with Terminal() as terminal:
            run = api.tune(config, folder, overrides=overrides, listen=terminal)
    except KeyboardInterrupt:
        console.print(f"\nInterrupted. The run stands in {folder}; the same command goes on where it stopped.")
        raise SystemExit(130) from None
    console.print(recipe_table([run.scores]))
    for sentence in api.compare(folder / "base", folder, target=next(iter(run.scores["target"]))).sentences():
        console.print(sentence)
    console.print(f"Report: {write_run_report(folder, [run.scores])}", soft_wrap=True)

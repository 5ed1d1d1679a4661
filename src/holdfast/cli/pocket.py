"""``holdfast pocket``: the shipped models' maker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Rebuild a shipped pocket model.")


@app.callback()
def pocket() -> None:
    """Rebuild a shipped pocket model."""


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="folder for the model; stages resume there")] = Path("runs/pocket"),
    model: Annotated[str, typer.Option(help="pocket or pocket-2")] = "pocket",
    seed: Annotated[int, typer.Option(help="decides everything", min=0)] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="a few steps only, to see that it runs")] = False,
) -> None:
    """Make a pocket model from nothing and print its table."""
    from holdfast import importing
    from holdfast.pocket.making.command import build_command

    importing.done()
    build_command(out, model=model, seed=seed, quick=quick)

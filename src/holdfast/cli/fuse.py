"""``holdfast fuse``: merge tuned models into their base, from folder to folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.values import JSON


def fuse(
    base: Annotated[str, typer.Argument(help="the base: a model folder, or pocket")],
    tuned: Annotated[
        list[Path], typer.Argument(help="one or several models tuned from it: model folders or finished run folders")
    ],
    method: Annotated[str, typer.Option(help="wise_ft, ties, dare ...; see holdfast methods")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="an option: --set alpha=0.7")] = None,
    fisher_base: Annotated[
        Path | None, typer.Option(help="fisher: safetensors with the base's Fisher information")
    ] = None,
    fisher_tuned: Annotated[
        list[Path] | None, typer.Option(help="fisher: the same of a tuned model; once for each, in their order")
    ] = None,
    seed: Annotated[int, typer.Option(help="of random choices")] = 0,
) -> None:
    """Write a fused model with the base's layout; needs memory for a few pieces of a tensor, not for a model."""
    from rich.progress import Progress

    from holdfast import importing
    from holdfast.cli.terminal import console
    from holdfast.config.loading import load_config
    from holdfast.errors import HoldfastError
    from holdfast.methods.fusion.folders import fuse_folders
    from holdfast.methods.registry import make_fusion
    from holdfast.models.shipped import SHIPPED
    from holdfast.runs.export import plain_folders

    importing.done()
    options: JSON = {}
    if set_:
        section = load_config({"fuse": {"method": method}}, [f"fuse.{item}" for item in set_]).fuse
        assert section is not None
        options = section.options
    if fisher_base is not None or fisher_tuned:
        if method != "fisher":
            raise HoldfastError(f"fusion '{method}' uses no Fisher information", remedy="leave --fisher-... out")
        options |= {"base_file": str(fisher_base), "tuned_files": [str(file) for file in fisher_tuned or []]}
    fusion = make_fusion(method, options)
    place = SHIPPED.get(base) or Path(base).expanduser()
    with (
        plain_folders([folder.expanduser() for folder in tuned], place, beside=out) as folders,
        Progress(console=console, transient=True) as progress,
    ):
        bar = progress.add_task(f"fusing by {method}", total=None)
        fuse_folders(
            place,
            folders,
            fusion,
            out,
            seed=seed,
            names=[str(folder.expanduser()) for folder in tuned],
            advance=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    console.print(f"Model: {out}. It loads in plain transformers.", soft_wrap=True)

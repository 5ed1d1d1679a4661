"""``holdfast export``: a run as a plain transformers model, or as a PEFT adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="a finished run folder")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    adapter: Annotated[bool, typer.Option("--adapter", help="write a PEFT adapter instead of a merged model")] = False,
) -> None:
    """Write what was tuned in a form that needs no Holdfast."""
    from holdfast.cli.terminal import console
    from holdfast.config.loading import load_config
    from holdfast.runs.export import export_adapter, export_model

    if adapter:
        export_adapter(run, out)
        console.print(f"PEFT adapter: {out}; load it with PeftModel.from_pretrained(base, '{out}').", soft_wrap=True)
        return
    deviation = export_model(run, out)
    bits = load_config(run / "config.yaml").load.bits
    if bits is not None:
        note = f"The run's base was kept in {bits} bits; the model is the base before that with the change on it."
        console.print(note, soft_wrap=True)
    console.print(f"Model: {out}. Largest logit deviation from the run: {deviation:.2e}.", soft_wrap=True)

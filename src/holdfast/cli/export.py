"""``holdfast export``: a run as a plain transformers model, or as a PEFT adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="a finished run folder")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    adapter: Annotated[bool, typer.Option("--adapter", help="write a PEFT adapter instead of a merged model")] = False,
    apart: Annotated[
        bool,
        typer.Option("--apart", help="with --adapter: what was tuned in full in a file of its own, not in the adapter"),
    ] = False,
    expert: Annotated[
        int | None, typer.Option(help="of a run whose fusion keeps several experts: which one, from 1", min=1)
    ] = None,
    push: Annotated[str | None, typer.Option(help="ORG/NAME: upload it to the Hub, too")] = None,
    public: Annotated[bool, typer.Option("--public", help="with --push: a new repository is not private")] = False,
) -> None:
    """Write what was tuned in a form that needs no Holdfast."""
    from holdfast.cli.terminal import console
    from holdfast.config.loading import load_config
    from holdfast.errors import HoldfastError
    from holdfast.runs.export import CONNECTOR, export_adapter, export_model
    from holdfast.runs.serving import missing_for_serving

    if apart and not adapter:
        raise HoldfastError("--apart is for an adapter, and a merged model is one", remedy="add --adapter")
    if adapter and expert is not None:
        raise HoldfastError("an adapter is of one run's training, not of an expert", remedy="leave --expert out")
    if public and push is None:
        raise HoldfastError("--public is for what is uploaded", remedy="add --push ORG/NAME")
    if push is not None:
        from holdfast.runs.push import check_access, check_name

        check_name(push)
        check_access(push)
    if adapter:
        export_adapter(run, out, apart=apart)
        console.print(f"PEFT adapter: {out}; load it with PeftModel.from_pretrained(base, '{out}').", soft_wrap=True)
        if apart:
            first = f"model.load_state_dict(load_file('{out / CONNECTOR}'), strict=False)"
            console.print(f"Before that, on the base: {first}.", soft_wrap=True)
    else:
        deviation = export_model(run, out, expert=expert)
        bits = load_config(run / "config.yaml").load.bits
        if bits is not None:
            note = f"The run's base was kept in {bits} bits; the model is the base before that with the change on it."
            console.print(note, soft_wrap=True)
        console.print(f"Model: {out}. Largest logit deviation from the run: {deviation:.2e}.", soft_wrap=True)
        for tool, missing in missing_for_serving(out).items():
            said = f"would miss {' and '.join(missing)}" if missing else "finds every file it asks for"
            console.print(f"{tool} {said}.", soft_wrap=True)
    if push is not None:
        from holdfast.runs.push import push as upload

        console.print(f"Uploaded to {upload(out, push, private=not public)}.", soft_wrap=True)

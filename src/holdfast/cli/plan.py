"""``holdfast plan``: what a recipe trains, weighs and costs, without weights, data or an accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def plan(
    config: Annotated[
        Path | None, typer.Argument(help="the recipe, the same YAML file as for holdfast tune", metavar="[RECIPE]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="a shape such as llava-1.5-7b, a model folder, a Hub id, or pocket")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="the recipe, as an option")] = None,
    method: Annotated[str | None, typer.Option(help="one method on the llm, everything else frozen")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="override a key: --set tune.llm.r=64")] = None,
    batch_size: Annotated[int | None, typer.Option(help="rows of a step; default: the recipe's")] = None,
    length: Annotated[int | None, typer.Option(help="tokens of a row with its image tokens")] = None,
    images: Annotated[int, typer.Option(help="images of a row; a tile counts as an image")] = 1,
    answer: Annotated[int, typer.Option(help="answer tokens of a row")] = 8,
    precision: Annotated[str, typer.Option(help="bf16 or fp32")] = "bf16",
    devices: Annotated[
        int | None, typer.Option(min=1, help="plan for so many accelerators, too; goes with --card")
    ] = None,
    card: Annotated[str | None, typer.Option(help="what they are: h100, a100-80, l40s, rtx-4090, ...")] = None,
    share: Annotated[float, typer.Option(help="share of the card's peak rate that training reaches")] = 0.4,
    examples: Annotated[int | None, typer.Option(min=1, help="training examples, for the hours of a run")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Count what a recipe trains and estimate what a step costs, from a configuration alone."""
    import json
    import os

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from holdfast.config.loading import load_config, locate
    from holdfast.errors import HoldfastError, nearest

    if sum(given is not None for given in (config, recipe, method)) != 1:
        raise HoldfastError("a plan is of one recipe or one method", remedy="give RECIPE.yaml or --method NAME")
    file = config or recipe
    if precision not in ("bf16", "fp32"):
        raise HoldfastError(f"unknown precision '{precision}'", remedy=nearest(precision, ("bf16", "fp32")))
    planned = load_config({"tune": {"llm": {"method": method}}} if file is None else file, set_ or [])
    if model is not None:
        planned = planned.model_copy(update={"model": model})
    from holdfast.planning.plan import make_plan

    if devices is not None and card is None:
        raise HoldfastError("--devices says how many, and not which", remedy="add --card, such as --card h100")
    step: Any = {"batch": batch_size, "length": length, "images": images, "answer": answer, "precision": precision}
    spread = None
    try:
        made = make_plan(planned, **step)
        if card is not None:
            from holdfast.planning.devices import plan_devices

            spread = plan_devices(planned, devices=devices or 1, card=card, share=share, examples=examples, **step)
    except HoldfastError as error:
        if file is not None and error.key:
            locate(error, file, set_ or [])
        raise
    if as_json:
        print(json.dumps(made.to_json() | ({} if spread is None else {"spread": spread.to_json()}), indent=1))
        return
    _show(made)
    if spread is not None:
        _show_devices(spread)


def _show(made: Any) -> None:
    from rich.table import Table

    from holdfast.cli.terminal import console, ledger_table, size

    work = made.workload
    console.print(ledger_table(made.ledger))
    console.print(f"[bold]Memory of a step[/], estimated: {work.batch} rows of {work.length} tokens, {work.precision}")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    for part, count in made.memory.to_json().items():
        table.add_row(f"[bold]{part}[/]" if part == "peak" else part, size(count))
    console.print(table)
    flops = made.flops
    console.print(
        f"[bold]FLOPs of a step[/]: {flops.step:.3e} (forward {flops.forward:.3e}, backward {flops.backward:.3e})"
    )
    console.print(f"[dim]Base {made.ledger.base:,}, added {made.ledger.added:,}. No weights were read.[/]")


def _show_devices(spread: Any) -> None:
    from rich.table import Table

    from holdfast.cli.terminal import console, size

    count, rows = f"{spread.count} x {spread.card.name}", f"{spread.rows} row{'s' if spread.rows > 1 else ''}"
    console.print(f"[bold]{count}[/], {rows} of a step on each; a card has {size(spread.card.memory)}")
    table = Table(box=None, pad_edge=False)
    for name in ("way", "a device", "fits", "rows that fit"):
        table.add_column(name, justify="left" if name == "way" else "right", no_wrap=True)
    for way in spread.ways:
        if way.memory is not None:
            table.add_row(way.name, size(way.memory), "yes" if way.fits else "no", f"{way.largest:,}")
    console.print(table)
    for way in spread.ways:
        if way.memory is None:
            console.print(f"{way.name}: no, {way.why_not}.", markup=False, soft_wrap=True)
    if spread.count > 1:
        console.print(
            "[dim]--processes keeps the model whole; a configuration of accelerate asks for DeepSpeed (zero-2) "
            "or for FSDP2 or ZeRO-3, which divide the llm's blocks (fsdp).[/]",
            soft_wrap=True,
        )
    pace = f"{spread.seconds:.2g} s a step at {spread.share:.0%} of the card's peak rate, communication left out"
    if spread.hours is None:
        console.print(f"{pace}. For the hours of the run give --examples, or set train.steps.", soft_wrap=True)
    else:
        hours = f"{spread.hours:,.2f} hours, {spread.hours * spread.count:,.2f} device-hours"
        console.print(f"[bold]{hours}[/]: {spread.steps:,} steps, {pace}.", soft_wrap=True)

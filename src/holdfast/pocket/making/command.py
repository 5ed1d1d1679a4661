"""``holdfast pocket build``: the build with live progress, and its table at the end."""

from __future__ import annotations

from pathlib import Path


def build_command(out: Path, *, model: str = "pocket", seed: int = 0, quick: bool = False) -> None:
    """Make a pocket model in ``out`` and print its table; the same command resumes after an interruption.

    Args:
        out: Folder for the model; checkpoints of finished stages are kept in ``out/stages``.
        model: Which.
        seed: Decides initialisation, pictures and order.
        quick: A few steps of every stage, to see that the path works.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from holdfast.pocket.making.build import build
    from holdfast.pocket.making.card import table_lines

    console = Console()
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=console) as progress:
        bars: dict[str, object] = {}

        def report(stage: str, step: int, steps: int, text: str) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=steps, said="")
            progress.update(bars[stage], completed=step, total=steps, said=text)  # type: ignore[arg-type]

        card = build(out, model=model, seed=seed, quick=quick, report=report)
    console.print()
    print("\n".join(table_lines(card)))
    minutes = sum(card["seconds"].values()) / 60
    print(f"\n{card['parameters']:,} parameters, {card['weights_bytes'] / 1e6:.1f} MB, {minutes:.1f} minutes")
    print(f"written to {out}")

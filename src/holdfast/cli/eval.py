"""``holdfast eval``: ask a model or a finished run the items of some tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def evaluate(
    run_or_model: Annotated[str, typer.Argument(help="a run folder, a model folder, a Hub id, or pocket")],
    tasks: Annotated[list[str], typer.Option(help="an example file, pocket:NAME, or pocket; may be repeated")],
    out: Annotated[Path, typer.Option(help="folder for predictions and scores")] = Path("runs/eval"),
    limit: Annotated[int | None, typer.Option(help="at most so many items a task", min=1)] = None,
    batch_size: Annotated[int, typer.Option(help="items asked together", min=1)] = 32,
    max_new_tokens: Annotated[int, typer.Option(help="longest answer", min=1)] = 32,
    root: Annotated[str | None, typer.Option(help="folder of the images; default: that of the example file")] = None,
    metric: Annotated[str | None, typer.Option(help="metric of example files; default: exact_match")] = None,
    options: Annotated[
        Literal["generate", "likelihood"], typer.Option(help="likelihood: the likeliest of given options is the answer")
    ] = "generate",
    share_images: Annotated[
        bool | None,
        typer.Option(
            "--share-images/--no-share-images", help="ask questions about one image together; default: where exact"
        ),
    ] = None,
    expert: Annotated[
        int | None, typer.Option(help="of a run whose fusion keeps several experts: which one, from 1", min=1)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Predict and score tasks; an interrupted call goes on item by item."""
    import json
    from functools import partial

    from holdfast import api
    from holdfast.cli.terminal import Terminal, console, points
    from holdfast.config.schema import Speed

    speed = Speed(share_images="auto" if share_images is None else "on" if share_images else "off")
    names = [name for group in tasks for name in group.split(",") if name]
    ask = partial(
        api.evaluate,
        run_or_model,
        names,
        out,
        limit=limit,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        metric=metric,
        root=root,
        options=options,
        speed=speed,
        expert=expert,
    )
    if as_json:
        print(json.dumps({"tasks": {name: score.to_json() for name, score in ask().items()}}, indent=1))
        return
    with Terminal() as terminal:
        scores = ask(listen=terminal)
    for name, score in scores.items():
        extra = "".join(f", {getattr(score, k)} {k}" for k in ("missing", "unparsed", "truncated") if getattr(score, k))
        console.print(f"{name:<20} {points(score.score):>6}  {score.metric} ({score.variant}), n {score.n}{extra}")
    console.print(f"Predictions: {out / 'predictions'}", soft_wrap=True)

"""``holdfast compose``: a model from a vision encoder and a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def compose(
    vision: Annotated[str, typer.Option(help="vision encoder: a folder or Hub id, such as facebook/dinov2-small")],
    llm: Annotated[str, typer.Option(help="language model with a chat template: a folder (safetensors or one GGUF)")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    image_size: Annotated[
        int | None, typer.Option(help="height and width of pictures; default: the encoder's own", min=1)
    ] = None,
    layer: Annotated[int, typer.Option(help="layer of the encoder that the connector reads")] = -2,
    token: Annotated[
        str | None, typer.Option(help="reserved token of the llm that marks pictures; default: <image>, added")
    ] = None,
    projector: Annotated[
        Path | None, typer.Option(help="safetensors with a taught connector; default: drawn from --seed")
    ] = None,
    seed: Annotated[int, typer.Option(help="of a fresh connector", min=0)] = 0,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="of all weights; default: the llm's own"),
    ] = None,
) -> None:
    """Put a LLaVA-type model together; it loads in plain transformers, and its connector is still to be taught."""
    import torch

    from holdfast import importing
    from holdfast.cli.terminal import console
    from holdfast.models.composing.compose import compose as put_together

    importing.done()
    made = put_together(
        vision=vision,
        llm=llm,
        out=out,
        image_size=image_size,
        layer=layer,
        token=token,
        projector=projector,
        seed=seed,
        dtype=None if dtype is None else getattr(torch, dtype),
    )
    sizes = ", ".join(f"{name} {count / 1e6:,.2f} M" for name, count in made.parameters.items())
    console.print(f"Model: {out} ({sizes}).", soft_wrap=True)
    console.print(
        f"A picture is resized to {made.image_size} x {made.image_size} pixels and takes {made.image_tokens} tokens, "
        f"written as {made.token}.",
        soft_wrap=True,
        markup=False,
    )
    if projector is None:
        console.print(
            f"Its connector is fresh: teach it on captions first, with connector: {{method: full}} and model: {out}.",
            soft_wrap=True,
            markup=False,
        )

"""The output head where it is needed: at some places of each row, and in one piece or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.models.anatomy import output_head


def logits_at(model: nn.Module, inputs: Mapping[str, Any], places: Tensor, *, select: bool = True) -> Tensor:
    """Logits ``[n, vocabulary]`` at the ``n`` true entries of ``places`` ``[rows, length]``, row by row.

    The head sees those places only: a hook in front of it picks them out of the hidden states, so that whatever the
    family does with logits afterwards (scales, soft caps) stays as it is, and no family needs to know the argument
    ``logits_to_keep``.

    Args:
        model: Any image-text-to-text model.
        inputs: What ``forward`` takes.
        places: Where logits are wanted.
        select: Off: compute all logits and pick afterwards.
    """
    with _narrowed(output_head(model) if select else None, places) as narrowed:
        logits: Tensor = model(**inputs).logits
    return logits.flatten(0, -2) if narrowed else logits[:, : places.shape[1]][places]


def hidden_at(model: nn.Module, inputs: Mapping[str, Any], places: Tensor) -> tuple[Tensor, Tensor] | None:
    """What the head gets at ``places``, ``[n, width]``, and the model's own logits ``[1, vocabulary]`` of the first.

    None where the model has no head that is called once on the hidden states of every token.
    """
    head = output_head(model)
    if head is None or not bool(places.any()):
        return None
    with _narrowed(head, places, first_only=True) as narrowed:
        logits: Tensor = model(**inputs).logits
    return (narrowed[0], logits.flatten(0, -2)) if narrowed else None


@contextmanager
def _narrowed(head: nn.Module | None, places: Tensor, *, first_only: bool = False) -> Iterator[list[Tensor]]:
    """Inside, ``head`` sees the hidden states at ``places`` (or the first of them); they are listed."""
    seen: list[Tensor] = []

    def narrow(module: nn.Module, arguments: tuple[Any, ...]) -> Any:
        hidden = arguments[0]
        if seen or hidden.shape[:2] != places.shape:
            return arguments
        chosen = hidden[places.to(hidden.device)]
        seen.append(chosen)
        return ((chosen[:1] if first_only else chosen).unsqueeze(0), *arguments[1:])

    handle = None if head is None else head.register_forward_pre_hook(narrow)
    try:
        yield seen
    finally:
        if handle is not None:
            handle.remove()


def after_head(model: Any) -> Callable[[Tensor], Tensor]:
    """What families do with the head's result, read off their configuration: scales and soft caps.

    A guess to be checked against the model's own logits before it is relied on.
    """
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    times = getattr(config, "logit_scale", None)
    over = getattr(config, "logits_scaling", None)

    def finish(logits: Tensor) -> Tensor:
        if times is not None:
            logits = logits * times
        if over is not None:
            logits = logits / over
        return logits if cap is None else torch.tanh(logits / cap) * cap

    return finish

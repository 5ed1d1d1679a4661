"""ASFT (arXiv 2509.23753): the loss weighed by the model's own probability, anchored to the base."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, divergence


class Anchor(Options):
    """How hard the anchor holds."""

    source = "zhuchichi56/ASFT (train.py)"
    strength: float = Field(default=0.1, ge=0, description="of the divergence; 0 is the loss without anchor, DFT")


class Asft(Stabiliser):
    """In place of ``-log p(y)`` the loss ``-p(y) log p(y) + strength * KL(base || tuned)`` of every answer token, the
    factor ``p(y)`` without gradient.

    Costs the base's forward pass a batch where ``strength`` is above 0.
    """

    card = StabiliserCard(
        name="asft",
        family="loss",
        summary="the loss weighed by the model's own probability, with KL to the base",
        paper="arXiv 2509.23753",
        year=2025,
        official_code="zhuchichi56/ASFT",
        checked_against="NumPy formula; its gradient by hand",
    )
    Settings = Anchor
    wants_logits = True
    asks_base = True

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        losses = seen.losses(seen.logits)
        term = (losses * (losses.detach().neg().exp() - 1)).sum()
        if not self.options.strength:
            return term
        return term + divergence(seen.logits, seen.base()) * float(self.options.strength)

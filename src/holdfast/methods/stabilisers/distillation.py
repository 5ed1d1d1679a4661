"""Distillation to the base (LwF, arXiv 1606.09282): on the answers, stay near what the untouched model would say."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, divergence


class Softness(Options):
    """How hard, and at which temperature."""

    strength: float = Field(default=0.5, ge=0)
    temperature: float = Field(default=1.0, gt=0)


class Distillation(Stabiliser):
    """``strength * T^2 * KL(base / T || tuned / T)``, summed over answer tokens and averaged as the answer loss is.

    The base is the same model with the adapters off, or, for selective methods, with the base values written back for
    one forward pass; there is no second copy. Costs that forward pass per batch, without gradient.
    """

    card = StabiliserCard(
        name="distillation",
        family="distillation",
        summary="KL to the base's answers at a temperature",
        paper="arXiv 1606.09282",
        year=2016,
    )
    Settings = Softness
    wants_logits = True
    asks_base = True

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        heat = self.options.temperature
        return divergence(seen.logits, seen.base(), heat) * float(self.options.strength * heat**2)

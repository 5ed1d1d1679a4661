"""Mask the Target (arXiv 2605.29498): stay near the base in all that is not the right token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div

from holdfast.methods.contract import Card, Context, Method, Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, can_be_switched_off


class Preference(Options):
    """How hard."""

    source: ClassVar[str] = "as distillation's; the paper's own value could not be verified"
    strength: float = Field(default=0.5, ge=0, description="lambda")


class MaskTheTarget(Stabiliser):
    """``strength * KL(base || tuned)`` over the vocabulary without the answer token, both renormalised, so that
    learning the answer is not opposed; summed over answer tokens and averaged as the answer loss is.

    The direction of the divergence is that of distillation. Costs the base's forward pass a batch.
    """

    card = Card(
        name="mask_the_target",
        paradigm="any",
        family="distillation",
        summary="KL to the base without the target token",
        paper="arXiv 2605.29498",
        year=2026,
        checked_against="NumPy formula token by token",
    )
    Settings = Preference
    wants_logits = True

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        can_be_switched_off(methods)

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        now, then = (self._others(logits, seen.targets) for logits in (seen.logits, seen.base()))
        return kl_div(now, then, reduction="sum", log_target=True) * float(self.options.strength)

    def _others(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Log-probabilities among the other tokens, ``[tokens, vocabulary - 1]``."""
        others = torch.ones_like(logits, dtype=torch.bool).scatter_(1, targets[:, None], False)
        return logits.float()[others].view(len(logits), -1).log_softmax(dim=-1)

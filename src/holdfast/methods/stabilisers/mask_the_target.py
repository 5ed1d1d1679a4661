"""Mask the Target (arXiv 2605.29498): stay near the base in all that is not the right token."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div

from holdfast.methods.contract import Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard


class Preference(Options):
    """How hard, and where the base says nothing."""

    source = "arXiv 2605.29498, sections 3.1 and B.6"
    strength: float = Field(default=1.0, ge=0, description="lambda")
    certain: float = Field(
        default=1 - 1e-4, gt=0, le=1, description="of the answer token in the base, above which a place is left out"
    )


class MaskTheTarget(Stabiliser):
    """``strength * KL(base || tuned)`` over the vocabulary without the answer token, both renormalised, so that
    learning the answer is not opposed (section 3.1). Where the base gives the answer a probability above ``certain``,
    what it thinks of all else is left out.

    Summed over answer tokens and divided by their number as the answer loss is; the paper divides by those that are not
    left out, of which it lost less than 0.5 %. Costs the base's forward pass a batch.
    """

    card = StabiliserCard(
        name="mask_the_target",
        family="distillation",
        summary="KL to the base without the target token",
        paper="arXiv 2605.29498",
        year=2026,
        checked_against="NumPy formula token by token",
    )
    Settings = Preference
    wants_logits = True
    asks_base = True

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        base = seen.base()
        told = base.float().softmax(dim=-1).gather(1, seen.targets[:, None]) <= float(self.options.certain)
        now, then = (self._others(logits, seen.targets) for logits in (seen.logits, base))
        apart: Tensor = (kl_div(now, then, reduction="none", log_target=True) * told).sum()
        return apart * float(self.options.strength)

    def _others(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Log-probabilities among the other tokens, ``[tokens, vocabulary - 1]``."""
        others = torch.ones_like(logits, dtype=torch.bool).scatter_(1, targets[:, None], False)
        return logits.float()[others].view(len(logits), -1).log_softmax(dim=-1)

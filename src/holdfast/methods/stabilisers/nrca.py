"""NRCA (OpenReview bif35if4n3): be as sure of an answer in front of a noisy picture."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from holdfast.methods.contract import Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard


class Noise(Options):
    """How hard."""

    source = "WenkeHuang/NRCA"
    strength: float = Field(default=2.0, ge=0, description="lambda; the release also has 1, 3, 4 and 5")


LEAST = 3
"""Answer tokens from which on an example counts (release: more than two)."""


class Nrca(Stabiliser):
    """``strength * CE * mean over examples of |I - I_noisy| / I``, where ``I`` is the mean probability of an example's
    answer tokens, clean and without gradient, ``I_noisy`` the same in front of ``(x + n) / 2`` with ``n`` normal noise
    of the mean and deviation of the batch's pixels, and ``CE`` the batch's loss without gradient.

    Examples of two answer tokens or less do not count; in shared rows a picture counts once in mean and deviation.
    Costs a forward and backward pass a batch; looks at pixels, so kept features cannot stand in for them.
    """

    card = StabiliserCard(
        name="nrca",
        family="consistency",
        summary="answers as sure in front of a noisy picture",
        paper="OpenReview bif35if4n3",
        year=2025,
        official_code="WenkeHuang/NRCA",
        checked_against="NumPy formula example by example",
    )
    Settings = Noise
    wants_logits = True
    wants_pixels = True

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        owners, counts = seen.batch.answer_owners.unique(return_inverse=True, return_counts=True)[1:]
        counted = counts >= LEAST
        if not seen.batch.images or not bool(counted.any()):
            return None
        noisy = seen.again(replace(seen.batch, images={n: _noisy(x) for n, x in seen.batch.images.items()}))
        sure, less = (
            torch.zeros(len(counts), device=owners.device).index_add(0, owners, _right(logits, seen.targets)) / counts
            for logits in (seen.logits.detach(), noisy)
        )
        apart = ((sure - less).abs() / sure)[counted].mean()
        loss = cross_entropy(seen.logits.detach().float(), seen.targets, reduction="sum")
        term: Tensor = apart * loss * float(self.options.strength)
        return term


def _noisy(x: Tensor) -> Tensor:
    """Half the picture, half noise like it; sizes and grids stay."""
    if not x.is_floating_point():
        return x
    return (x + torch.randn_like(x) * x.std() + x.mean()) / 2


def _right(logits: Tensor, targets: Tensor) -> Tensor:
    """The probability of every answer token."""
    return logits.float().softmax(dim=-1).gather(1, targets[:, None]).squeeze(1)

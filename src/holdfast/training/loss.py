"""The answer loss, with the output head applied only where a label is."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.methods.contract import Batch
from holdfast.models.chat import IGNORED


@dataclass(frozen=True)
class AnswerLoss:
    """Sum over answer tokens, their number, and which rows were right in every token.

    A row whose every answer token is the most likely one given the right prefix is exactly a row that greedy decoding
    answers correctly. ``logits [batch, places, vocabulary]`` and ``targets [batch, places]`` are what it was made of.
    """

    total: Tensor
    tokens: int
    exact: Tensor
    logits: Tensor
    targets: Tensor


def answer_loss(model: nn.Module, batch: Batch, *, logits_only: bool = True) -> AnswerLoss:
    """Cross-entropy of the answer tokens of one batch, in float32.

    Args:
        model: Any image-text-to-text model.
        batch: Its inputs and ``labels`` ``[batch, length]``.
        logits_only: Compute logits at those positions only at which some row has a label. Changes no number.
    """
    logits, targets = answer_logits(model, batch, logits_only=logits_only)
    flat = logits.float().flatten(0, 1)
    total = nn.functional.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED, reduction="sum")
    right = (logits.argmax(dim=-1) == targets) | (targets == IGNORED)
    return AnswerLoss(total, int((targets != IGNORED).sum()), right.all(dim=1), logits, targets)


def mean_loss(model: nn.Module, batch: Batch, *, logits_only: bool = True) -> Tensor:
    """The mean answer loss of one batch."""
    result = answer_loss(model, batch, logits_only=logits_only)
    return result.total / max(result.tokens, 1)


def answer_logits(model: nn.Module, batch: Batch, *, logits_only: bool = True) -> tuple[Tensor, Tensor]:
    """Logits ``[batch, places, vocabulary]`` and labels ``[batch, places]`` where some row has a label."""
    inputs: dict[str, Any] = {name: value for name, value in batch.items() if name != "labels"}
    targets = batch["labels"][:, 1:]
    places = torch.nonzero((targets != IGNORED).any(dim=0)).squeeze(1)
    if logits_only and takes_logits_to_keep(model):
        return model(**inputs, logits_to_keep=places).logits, targets[:, places]
    return model(**inputs).logits[:, places], targets[:, places]


def takes_logits_to_keep(model: nn.Module) -> bool:
    """Whether ``forward`` names the argument; unknown keywords would be swallowed in silence."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters

"""The answer loss, with the output head applied only where a label is, in one piece or in several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from holdfast.models.anatomy import output_head
from holdfast.models.batch import Batch
from holdfast.speed.head import after_head, hidden_at, logits_at

Head = Literal["auto", "answers", "chunked", "liger", "full"]

Encoded = Mapping[str, Tensor]
"""What a processor made, with labels; see :meth:`holdfast.models.chat.ChatProcessor.encode`."""

LARGE = 1 << 25
"""From this many logits on (128 MiB of float32) ``auto`` works in chunks."""

CHUNK = 1 << 22
"""Logits of one chunk."""


@dataclass(frozen=True)
class AnswerLoss:
    """What the answer tokens of one batch came to.

    Attributes:
        total: Sum of the cross-entropy over them, in float32.
        tokens: How many there are.
        exact: ``[examples]``; a row whose every answer token is the most likely one given the right prefix is exactly a
            row that greedy decoding answers correctly.
        targets: ``[tokens]``.
        logits: ``[tokens, vocabulary]``; None where they never existed at once.
        head: How the output head was applied.
    """

    total: Tensor
    tokens: int
    exact: Tensor
    targets: Tensor
    logits: Tensor | None
    head: Head


def answer_loss(
    model: nn.Module, batch: Batch | Encoded, *, head: Head = "auto", keep_logits: bool = False
) -> AnswerLoss:
    """Cross-entropy of the answer tokens of one batch, in float32.

    Args:
        model: Any image-text-to-text model.
        batch: With labels; what a processor made will do.
        head: ``full`` computes all logits, ``answers`` those at labels, ``chunked`` those a piece at a time (each piece
            is computed again in the backward pass), ``liger`` by Liger's fused kernel; ``auto`` takes ``answers``, or
            ``chunked`` where the logits would be large. Changes no number.
        keep_logits: They are needed afterwards, so ``auto`` does not work in chunks.
    """
    batch = _batch(batch)
    places, targets, owner = _answers(batch)
    how: Head = head
    if head == "auto":
        large = targets.numel() * vocabulary(model) > LARGE and not keep_logits
        how = "chunked" if large else "answers"
    if how in ("chunked", "liger") and not keep_logits:
        pieces = _in_pieces(model, batch, places, targets, fused=how == "liger")
        if pieces is not None:
            total, right = pieces
            return AnswerLoss(total, targets.numel(), _exact(batch, owner, right), targets, None, how)
        how = "answers"
    logits = logits_at(model, batch.inputs(model), places, select=how != "full")
    total = cross_entropy(logits.float(), targets, reduction="sum")
    right = logits.argmax(dim=-1) == targets
    return AnswerLoss(total, targets.numel(), _exact(batch, owner, right), targets, logits, how)


def mean_loss(model: nn.Module, batch: Batch | Encoded, *, head: Head = "auto") -> Tensor:
    """The mean answer loss of one batch."""
    result = answer_loss(model, batch, head=head)
    return result.total / max(result.tokens, 1)


def answer_logits(model: nn.Module, batch: Batch | Encoded, *, head: Head = "auto") -> tuple[Tensor, Tensor]:
    """Logits ``[tokens, vocabulary]`` and labels ``[tokens]`` of the answer tokens."""
    batch = _batch(batch)
    places, targets, _ = _answers(batch)
    return logits_at(model, batch.inputs(model), places, select=head != "full"), targets


def vocabulary(model: nn.Module) -> int:
    """Number of logits of a token."""
    head = output_head(model)
    return int(head.weight.shape[0]) if head is not None and isinstance(head.weight, Tensor) else 0


def _batch(batch: Batch | Encoded) -> Batch:
    return batch if isinstance(batch, Batch) else Batch.of(batch)


def _answers(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Where an answer token is predicted ``[rows, length]``, which it is, and whose it is ``[tokens]``."""
    places = batch.answer_places
    assert batch.labels is not None
    return places, batch.labels.roll(-1, dims=1)[places], batch.answer_owners


def _exact(batch: Batch, owner: Tensor, right: Tensor) -> Tensor:
    count = int(batch.owner.max()) + 1 if batch.owner is not None else batch.text["input_ids"].shape[0]
    exact = torch.ones(count, dtype=torch.bool, device=right.device)
    exact[owner[~right]] = False
    return exact


def _in_pieces(
    model: nn.Module, batch: Batch, places: Tensor, targets: Tensor, *, fused: bool
) -> tuple[Tensor, Tensor] | None:
    """Loss and which tokens were right, or None where this family's logits cannot be made outside its forward."""
    found = hidden_at(model, batch.inputs(model), places)
    if found is None:
        return None
    hidden, first = found
    head, finish = output_head(model), after_head(model)
    assert head is not None
    # Not under no_grad: autocast would remember a converted head weight without a graph and use it below.
    own = finish(head(hidden[:1].detach()))
    if not torch.allclose(own.float(), first.float(), rtol=1e-3, atol=1e-3):
        return None
    if fused:
        from holdfast.training.fused import fused_loss

        return fused_loss(head, hidden, targets, model)
    total, right = hidden.new_zeros((), dtype=torch.float32), []
    for part, wanted in zip(*(t.split(max(1, CHUNK // vocabulary(model))) for t in (hidden, targets)), strict=True):
        piece: Any = checkpoint(_piece, head, finish, part, wanted, use_reentrant=False)
        total = total + piece[0]
        right.append(piece[1])
    return total, torch.cat(right)


def _piece(
    head: nn.Module, finish: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    logits = finish(head(hidden)).float()
    return cross_entropy(logits, targets, reduction="sum"), logits.detach().argmax(dim=-1) == targets

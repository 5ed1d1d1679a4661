"""One batch on its way through a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from holdfast.models.chat import per_token
from holdfast.values import Keywords

ENDS = "holdfast_ends"
"""What a model with :data:`WANTS_ENDS` is given beside its inputs: the last token in front of each answer, ``[rows,
length]``; whoever set the attribute takes it out in a hook before ``forward``.
"""

WANTS_ENDS = "_holdfast_wants_ends"
"""The attribute of a model to which a method was attached that must know where a prompt ends."""


class ImageFeatures(Protocol):
    """Features that stand in for pixels; see :class:`holdfast.speed.features.images.CachedImages`."""

    def to(self, device: torch.device | str) -> ImageFeatures:
        """The same on another device."""

    def inputs(self, model: nn.Module) -> Keywords:
        """What ``forward`` takes in place of pixels."""


@dataclass(frozen=True)
class Boundaries:
    """Where rows that stand behind each other without a mask begin and end.

    Attributes:
        places: The first token of each, counted over all rows of the batch, and one more than the last; int32,
            ``[pieces + 1]``.
        longest: Tokens of the longest.
    """

    places: Tensor
    longest: int

    def inputs(self) -> Keywords:
        """As transformers hands them through a model to its attention."""
        return {
            "cu_seq_lens_q": self.places,
            "cu_seq_lens_k": self.places,
            "max_length_q": self.longest,
            "max_length_k": self.longest,
        }


@dataclass(frozen=True)
class Batch:
    """Rows of one or several examples, and where their answers stand.

    Attributes:
        text: Inputs with an entry a token, as ``forward`` calls them, ``[rows, length]``; a mask of shared rows is
            ``[rows, 1, length, length]``, M-RoPE's positions are ``[3, rows, length]``.
        images: What ``forward`` takes of the images: pixels, grids, sizes.
        features: In place of pixels.
        labels: ``[rows, length]``, negative where nothing is supervised; None where nothing is to be learned.
        owner: Whose each token is, where several examples stand in a row; see
            :func:`holdfast.speed.sharing.packing.pack`.
        piece: Which piece of its row each token belongs to, where several groups of examples stand behind each other.
        boundaries: Where the pieces begin, in place of a mask.
    """

    text: dict[str, Tensor]
    images: dict[str, Tensor] = field(default_factory=dict)
    features: ImageFeatures | None = None
    labels: Tensor | None = None
    owner: Tensor | None = None
    piece: Tensor | None = None
    boundaries: Boundaries | None = None

    @classmethod
    def of(cls, encoded: Mapping[str, Tensor]) -> Batch:
        """What :meth:`holdfast.models.chat.ChatProcessor.encode` made, a row an example."""
        text = {name: value for name, value in encoded.items() if per_token(name) or name == "position_ids"}
        labels = text.pop("labels", None)
        images = {name: value for name, value in encoded.items() if name not in text and name != "labels"}
        return cls(text, images, labels=labels)

    def to(self, device: torch.device | str) -> Batch:
        """The same on ``device``; a GPU copies from pinned memory while the processor goes on."""
        ahead = torch.device(device).type == "cuda"
        told = self.boundaries
        return replace(
            self,
            boundaries=told and replace(told, places=told.places.to(device, non_blocking=ahead)),
            text={name: value.to(device, non_blocking=ahead) for name, value in self.text.items()},
            images={name: value.to(device, non_blocking=ahead) for name, value in self.images.items()},
            features=None if self.features is None else self.features.to(device),
            labels=None if self.labels is None else self.labels.to(device, non_blocking=ahead),
            owner=None if self.owner is None else self.owner.to(device, non_blocking=ahead),
            piece=None if self.piece is None else self.piece.to(device, non_blocking=ahead),
        )

    def inputs(self, model: nn.Module) -> Keywords:
        """What ``forward`` takes; with features, the connector may run here, so call it once a forward."""
        told = {ENDS: self.ends} if hasattr(model, WANTS_ENDS) else {}
        features = {} if self.features is None else self.features.inputs(model)
        bounds = {} if self.boundaries is None else self.boundaries.inputs()
        return {**self.text, **self.images, **told, **features, **bounds}

    @property
    def shows_images(self) -> bool:
        """Whether it has pixels, or features in their place."""
        return self.features is not None or any(value.is_floating_point() for value in self.images.values())

    @property
    def answer_places(self) -> Tensor:
        """Where an answer token is predicted, ``[rows, length]``."""
        assert self.labels is not None, "nothing is supervised"
        return torch.nn.functional.pad(self.labels[:, 1:] >= 0, (0, 1), value=False)

    @property
    def answer_owners(self) -> Tensor:
        """Whose each answer token is, ``[tokens]``."""
        return self.owners[self.answer_places]

    @property
    def answer_tokens(self) -> int:
        """Supervised tokens that something stands in front of."""
        return 0 if self.labels is None else int((self.labels[:, 1:] >= 0).sum())

    @property
    def ends(self) -> Tensor:
        """Of rows that are not shared, the token behind which the last answer begins, or would; ``[rows, length]``."""
        kept = self.text["attention_mask"]
        last = kept.cumsum(1) == kept.sum(1, keepdim=True)
        if self.labels is None:
            return last & (kept != 0)
        answered = self.labels >= 0
        following = torch.nn.functional.pad(answered[:, 1:], (0, 1), value=False)
        begins = following & ~answered
        behind = begins.flip(1).cumsum(1).flip(1)  # answers that begin here or later
        return torch.where(begins.any(1, keepdim=True), begins & (behind == 1), last & (kept != 0))

    @property
    def owners(self) -> Tensor:
        """Whose each token is, ``[rows, length]``: where rows are not shared, the example of the row."""
        if self.owner is not None:
            return self.owner
        ids = self.text["input_ids"]
        return torch.arange(ids.shape[0], device=ids.device)[:, None].expand_as(ids)

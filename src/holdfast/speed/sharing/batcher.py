"""Batches for training and scoring: which rows, which masks, and where the image features come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.data.examples import Example
from holdfast.models.loading import Loaded
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.sharing.attention import mark
from holdfast.speed.sharing.expansion_cache import Rows
from holdfast.speed.sharing.packing import as_additive, block_mask, pack, shared_length
from holdfast.speed.sharing.rows import TokenRow, by_images, collate
from holdfast.speed.sharing.supports import longest

Inputs = dict[str, Any]
"""Model inputs by name; beside them ``labels``, ``owner`` (see :func:`holdfast.speed.sharing.packing.pack`) and
``cached_images``, which stands for the pixels."""


class Batcher:
    """Turns examples into inputs on the model's device.

    Args:
        loaded: The model.
        answers: With answers and labels (training), or up to where the last answer begins.
        max_length: Tokens kept of a row, see :meth:`holdfast.models.chat.ChatProcessor.encode`.
        share: Questions about one image become one row.
        cache: Features of frozen encoders, in place of pixels.
        left: Padding on the left.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        answers: bool = True,
        max_length: int | None = None,
        share: bool = False,
        cache: FeatureCache | None = None,
        left: bool = False,
    ) -> None:
        self.loaded, self.share, self.cache, self.left = loaded, share, cache, left
        self.answers, self.max_length = answers, max_length
        self.rows = Rows(loaded.model, loaded.chat, answers=answers, max_length=max_length)
        self.marks = loaded.chat.image_token_ids()
        self.longest = longest(loaded.model)

    def __call__(self, examples: Sequence[Example]) -> Inputs:
        """One batch.

        Raises:
            HoldfastError: An example cannot be encoded.
        """
        packed = self.pack(examples)
        if packed is None:
            return to_device(self.separate(examples), self.loaded.device)
        batch = to_device(packed, self.loaded.device)
        mark(batch["attention_mask"], packed["owner"])
        return batch

    def separate(self, examples: Sequence[Example]) -> Inputs:
        """The batch with a row for each example, on the CPU."""
        cached = None if self.cache is None else self.cache.batch(examples)
        if cached is not None:
            return collate(self.rows(examples), self.padding, left=self.left) | {"cached_images": cached}
        return dict(self.loaded.chat.encode(examples, with_answers=self.answers, max_length=self.max_length))

    @property
    def padding(self) -> int:
        """Id of the padding token."""
        return int(self.loaded.chat.tokenizer.pad_token_id)

    def pack(self, examples: Sequence[Example]) -> Inputs | None:
        """The batch as one row an image, on the CPU; None where nothing is shared."""
        if not self.share or len(examples) < 2 or not repeated(examples):
            return None
        rows = self.rows(examples)
        if self.longest is not None and max(row.length for row in rows) > self.longest:
            return None  # the block mask would take the place of the window in every row of the batch
        groups = self.groups(examples, rows)
        if len(groups) == len(examples):
            return None
        return self.packed(examples, rows, groups)

    def packed(self, examples: Sequence[Example], rows: Sequence[TokenRow], groups: Sequence[Sequence[int]]) -> Inputs:
        """A row for each group of indices into ``examples``, on the CPU."""
        batch: Inputs = dict(pack(groups, rows, self.marks, self.padding, left=self.left))
        batch["attention_mask"] = self.mask(batch["owner"])
        return batch | self.images([examples[group[0]] for group in groups])

    def groups(self, examples: Sequence[Example], rows: Sequence[TokenRow]) -> list[list[int]]:
        """Indices of examples that become one row, in the order of their first members."""
        groups: list[list[int]] = []
        for members in by_images(examples):
            together = len(members) > 1 and shared_length([rows[i] for i in members], self.marks) > 0
            groups += [members] if together else [[index] for index in members]
        return sorted(groups)

    def mask(self, owner: Tensor, key: Tensor | None = None) -> Tensor:
        """The block mask of packed rows, in the form that the model's attention takes.

        Args:
            owner: Of the tokens that look, ``[rows, queries]``.
            key: Of all tokens, those that look last, ``[rows, keys]``; default: they are all.
        """
        key = owner if key is None else key
        mask = block_mask(owner, key, key.shape[1] - owner.shape[1])
        text: Any = self.loaded.model.config.get_text_config()  # type: ignore[union-attr, operator]
        if str(text._attn_implementation or "eager").startswith("eager"):
            return as_additive(mask, next(self.loaded.model.parameters()).dtype)
        return mask

    def images(self, leaders: Sequence[Example]) -> Inputs:
        """What ``forward`` needs of the images of rows that ``leaders`` lead."""
        cached = None if self.cache is None else self.cache.batch(leaders)
        if cached is not None:
            return {"cached_images": cached}
        shown = [example for example in leaders if example.images]
        if not shown:
            return {}
        return dict(self.rows.pixels(shown))


def repeated(examples: Sequence[Example]) -> bool:
    """Whether two of them show the same images."""
    return len(by_images(examples)) < len(examples)


def to_device(batch: Inputs, device: torch.device) -> Inputs:
    """Every input on ``device``."""
    return {name: value.to(device) for name, value in batch.items()}


def model_inputs(model: Any, batch: Inputs) -> Inputs:
    """What ``forward`` takes of a batch: without labels and owners, and with features in place of cached images."""
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "owner", "cached_images")}
    if "cached_images" in batch:
        inputs |= batch["cached_images"].inputs(model)
    return inputs

"""Batches for training and scoring: which rows, which masks, and where the image features come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from holdfast.data.examples import Example
from holdfast.models.batch import Batch
from holdfast.models.loading import Loaded
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.sharing.attention import mark
from holdfast.speed.sharing.expansion_cache import Rows
from holdfast.speed.sharing.filling import Filling
from holdfast.speed.sharing.packing import as_additive, block_mask, pack, same_piece, shared_length
from holdfast.speed.sharing.rows import Side, TokenRow, by_images, collate
from holdfast.speed.sharing.supports import longest
from holdfast.speed.sharing.varlen import boundaries

Ends = Literal["answer", "question"]
"""Where rows end: with the answer and its labels (training), or where the last answer begins (asking)."""

Layout = Literal["separate", "shared"]
"""A row an example, or a row for all questions about an image."""


class Batcher:
    """Turns examples into inputs on the model's device.

    Args:
        loaded: The model.
        ends: Where rows end.
        max_length: Tokens kept of a row, see :meth:`holdfast.models.chat.ChatProcessor.encode`.
        layout: What becomes a row; may be changed, as when shared rows turn out to differ.
        cache: Features of frozen encoders, in place of pixels.
        side: Of the padding.

    Attributes:
        filling: When rows of different images are laid behind each other; None: never.
        by_boundaries: Attention is told where such rows begin, in place of a mask; then none of them is shared.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        ends: Ends = "answer",
        max_length: int | None = None,
        layout: Layout = "separate",
        cache: FeatureCache | None = None,
        side: Side = "right",
    ) -> None:
        self.loaded, self.cache, self.max_length = loaded, cache, max_length
        self.ends: Ends = ends
        self.layout: Layout = layout
        self.side: Side = side
        self.rows = Rows(loaded.model, loaded.chat, answers=ends == "answer", max_length=max_length)
        self.filling: Filling | None = None
        self.by_boundaries = False
        self.marks = loaded.chat.image_token_ids()
        self.longest = longest(loaded.model)

    def __call__(self, examples: Sequence[Example]) -> Batch:
        """One batch, where the model is.

        Raises:
            HoldfastError: An example cannot be encoded.
        """
        return self.place(self.prepare(examples))

    def prepare(self, examples: Sequence[Example]) -> Batch:
        """One batch on the CPU; another process may make it, for it depends on the examples alone.

        Raises:
            HoldfastError: An example cannot be encoded.
        """
        packed = self.pack(examples)
        return self.separate(examples) if packed is None else packed

    def place(self, prepared: Batch) -> Batch:
        """What :meth:`prepare` made, where the model is."""
        batch = prepared.to(self.loaded.device)
        if prepared.owner is not None and prepared.boundaries is None:
            mark(batch.text["attention_mask"], prepared.owner, prepared.piece)
        return batch

    def separate(self, examples: Sequence[Example]) -> Batch:
        """The batch with a row for each example, on the CPU."""
        cached = None if self.cache is None else self.cache.batch(examples)
        if cached is not None:
            return replace(Batch.of(collate(self.rows(examples), self.padding, side=self.side)), features=cached)
        with_answers = self.ends == "answer"
        return Batch.of(self.loaded.chat.encode(examples, with_answers=with_answers, max_length=self.max_length))

    @property
    def padding(self) -> int:
        """Id of the padding token."""
        return int(self.loaded.chat.tokenizer.pad_token_id)

    def pack(self, examples: Sequence[Example]) -> Batch | None:
        """The batch with several examples in a row, on the CPU; None where every example has a row of its own."""
        sharing = self.layout == "shared" and repeated(examples)
        if len(examples) < 2 or not (sharing or self.filling):
            return None
        rows = self.rows(examples)
        if self.longest is not None and max(row.length for row in rows) > self.longest:
            return None  # the block mask would take the place of the window in every row of the batch
        groups = self.groups(examples, rows) if sharing else [[index] for index in range(len(examples))]
        lay = None if self.filling is None else self.filling.lay(self.lengths(rows, groups))
        if len(groups) == len(examples) and lay is None:
            return None
        return self.packed(examples, rows, groups, lay)

    def lengths(self, rows: Sequence[TokenRow], groups: Sequence[Sequence[int]]) -> list[int]:
        """Tokens of each group, what its members share counted once."""
        found = []
        for group in groups:
            members = [rows[index] for index in group]
            shared = shared_length(members, self.marks) if len(members) > 1 else 0
            found.append(sum(row.length for row in members) - shared * (len(members) - 1))
        return found

    def packed(
        self,
        examples: Sequence[Example],
        rows: Sequence[TokenRow],
        groups: Sequence[Sequence[int]],
        lay: Sequence[Sequence[int]] | None = None,
    ) -> Batch:
        """A row for each group of indices into ``examples``, or for several as ``lay`` has them, on the CPU."""
        batch = pack(groups, rows, self.marks, self.padding, side=self.side, lay=lay)
        if self.by_boundaries and batch.piece is not None:
            batch = replace(batch, boundaries=boundaries(batch.piece))
        else:
            batch.text["attention_mask"] = self.mask(batch.owners, piece=batch.piece)
        order = range(len(groups)) if lay is None else [group for row in lay for group in row]
        leaders = [examples[groups[group][0]] for group in order]
        features = None if self.cache is None else self.cache.batch(leaders)
        return replace(batch, images={} if features is not None else self._pixels(leaders), features=features)

    def groups(self, examples: Sequence[Example], rows: Sequence[TokenRow]) -> list[list[int]]:
        """Indices of examples that become one row, in the order of their first members."""
        groups: list[list[int]] = []
        for members in by_images(examples):
            together = len(members) > 1 and shared_length([rows[i] for i in members], self.marks) > 0
            groups += [members] if together else [[index] for index in members]
        return sorted(groups)

    def mask(self, owner: Tensor, key: Tensor | None = None, piece: Tensor | None = None) -> Tensor:
        """The block mask of packed rows, in the form that the model's attention takes.

        Args:
            owner: Of the tokens that look, ``[rows, queries]``.
            key: Of all tokens, those that look last, ``[rows, keys]``; default: they are all.
            piece: Of all tokens, where rows hold several groups.
        """
        key = owner if key is None else key
        mask = block_mask(owner, key, key.shape[1] - owner.shape[1])
        if piece is not None:
            mask &= same_piece(piece)
        text: Any = self.loaded.model.config.get_text_config()  # type: ignore[union-attr, operator]
        if str(text._attn_implementation or "eager").startswith("eager"):
            return as_additive(mask, next(self.loaded.model.parameters()).dtype)
        return mask

    def _pixels(self, leaders: Sequence[Example]) -> dict[str, Tensor]:
        """What ``forward`` needs of the images of rows that ``leaders`` lead."""
        shown = [example for example in leaders if example.images]
        return self.rows.pixels(shown) if shown else {}


def repeated(examples: Sequence[Example]) -> bool:
    """Whether two of them show the same images."""
    return len(by_images(examples)) < len(examples)

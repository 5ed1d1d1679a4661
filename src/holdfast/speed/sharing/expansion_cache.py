"""Rows of examples, each encoded once, and each image prepared once for all questions about it.

Preparing images is the dearest part of a batch. What a processor writes into a text for an image depends on the image
alone, so a second question about it is written with the same text in its place and needs no pixels.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from holdfast.data.examples import Example
from holdfast.models.chat import ChatProcessor, per_token
from holdfast.models.expansion import Expansion
from holdfast.speed.sharing.rows import TokenRow, by_images, images_of, rows_of, without_padding

LIMIT = 1 << 29
"""Bytes of rows that are remembered; beyond them examples are simply encoded again."""

_RIGHT: WeakKeyDictionary[ChatProcessor, dict[bool, bool]] = WeakKeyDictionary()
"""Whether rows written without images came out as those written with them; by with answers or without."""


@dataclass(frozen=True)
class PreparedImages:
    """Images that were prepared.

    Attributes:
        example: The first that has them; held, for images in memory are told apart by their address.
        row: Its row.
        texts: What stands in the row's text in their place.
    """

    example: Example
    row: TokenRow
    texts: Expansion


class Rows:
    """Rows of examples.

    Args:
        model: Whose positions rows have.
        chat: Its processor.
        answers: With answers and labels, or up to where the last answer begins.
        max_length: Tokens kept of a row.

    Attributes:
        limit: Bytes of rows that are remembered.
    """

    def __init__(self, model: nn.Module, chat: ChatProcessor, *, answers: bool, max_length: int | None = None) -> None:
        self.model, self.chat, self.answers, self.max_length = model, chat, answers, max_length
        self.limit = LIMIT
        self._marks = torch.tensor(sorted(chat.image_token_ids()))
        # By identity; the example is held, or its id could be reused.
        self._kept: dict[int, tuple[Example, TokenRow]] = {}
        self._prepared: dict[Any, PreparedImages] = {}
        self._bytes = 0
        self._pixels: tuple[list[Example], dict[str, Tensor]] = ([], {})

    def __call__(self, examples: Sequence[Example]) -> list[TokenRow]:
        """Rows in the order of the examples.

        Raises:
            HoldfastError: An example cannot be encoded, see :meth:`holdfast.models.chat.ChatProcessor.encode`.
        """
        absent = {id(example): example for example in examples if id(example) not in self._kept}
        fresh: dict[int, TokenRow] = {}
        full = self._bytes >= self.limit
        prepared: MutableMapping[Any, PreparedImages] = ChainMap({}, self._prepared) if full else self._prepared
        leaders = [example for example in (examples[group[0]] for group in by_images(examples)) if example.images]
        if any(id(leader) in absent and images_of(leader) not in prepared for leader in leaders):
            fresh |= self._lead(leaders, prepared)
        fresh |= self._follow([example for key, example in absent.items() if key not in fresh], prepared)
        rest = [example for key, example in absent.items() if key not in fresh]
        if rest:
            fresh |= zip(map(id, rest), rows_of(self.model, self._encode(rest)), strict=True)
        rows = [fresh[id(e)] if id(e) in fresh else self._kept[id(e)][1] for e in examples]
        for key in absent:
            if self._bytes < self.limit:
                self._kept[key] = (absent[key], fresh[key])
                self._bytes += fresh[key].bytes()
        return rows

    def pixels(self, leaders: Sequence[Example]) -> dict[str, Tensor]:
        """What ``forward`` needs of the images of ``leaders``, each of which has some.

        Where they are the first examples about their images in a call that prepared some, it was made there.
        """
        known, made = self._pixels
        if len(known) == len(leaders) and all(one is other for one, other in zip(known, leaders, strict=True)):
            return dict(made)
        return _images(self._encode(leaders))

    def _lead(self, leaders: list[Example], prepared: MutableMapping[Any, PreparedImages]) -> dict[int, TokenRow]:
        """Rows of one example about each image, by identity; what was made of the images is kept."""
        batch, texts = self.chat.encode_knowing(leaders, None, with_answers=self.answers, max_length=self.max_length)
        self._pixels = (leaders, _images(batch))
        rows = rows_of(self.model, batch)
        for leader, row, text in zip(leaders, rows, texts or [], strict=texts is not None):
            prepared[images_of(leader)] = PreparedImages(leader, row, text)
            self._bytes += sum(map(len, text))
        return dict(zip(map(id, leaders), rows, strict=True))

    def _follow(self, examples: Sequence[Example], prepared: Mapping[Any, PreparedImages]) -> dict[int, TokenRow]:
        """Rows by identity of those among ``examples`` whose images are prepared and need not be opened."""
        known = [(example, prepared[images_of(example)]) for example in examples if images_of(example) in prepared]
        if not known or not self._right(*known[0]):
            return {}
        found = zip(known, self._again(known), strict=True)
        return {id(example): row for (example, _), row in found if row is not None}

    def _right(self, example: Example, images: PreparedImages) -> bool:
        """Whether this processor writes rows without images as it does with them; compared on the first such row."""
        shown = _RIGHT.setdefault(self.chat, {})
        if self.answers not in shown:
            try:
                row = self._again([(example, images)])[0]
            except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError):
                shown[self.answers] = False  # it reads more from the images than their texts
            else:
                if row is None:
                    return False
                shown[self.answers] = _equal(row, rows_of(self.model, self._encode([example]))[0])
        return shown[self.answers]

    def _again(self, known: Sequence[tuple[Example, PreparedImages]]) -> list[TokenRow | None]:
        """Rows of other questions about prepared images; None where something else stands before the images."""
        batch, _ = self.chat.encode_knowing(
            [example for example, _ in known],
            [images.texts for _, images in known],
            with_answers=self.answers,
            max_length=self.max_length,
        )
        rows: list[TokenRow | None] = []
        for tokens, (_, images) in zip(without_padding(batch), known, strict=True):
            positions = self._positions(tokens["input_ids"], images.row)
            rows.append(None if positions is None else TokenRow(tokens, positions))
        return rows

    def _positions(self, ids: Tensor, first: TokenRow) -> Tensor | None:
        """As in the row that begins alike, and counted on from there: text behind images counts by one (M-RoPE)."""
        if first.positions.ndim == 1:
            return torch.arange(ids.shape[0])
        common = min(ids.shape[0], first.length)
        unlike = torch.nonzero(ids[:common] != first.tokens["input_ids"][:common])
        common = int(unlike[0]) if unlike.numel() else common
        if bool(torch.isin(ids[common:], self._marks).any()) or common == 0:
            return None
        shared = first.positions[:, :common]
        behind = int(shared.max()) + 1 + torch.arange(ids.shape[0] - common)
        return torch.cat([shared, behind.expand(3, -1)], dim=1)

    def _encode(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        return self.chat.encode(examples, with_answers=self.answers, max_length=self.max_length)


def _images(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if not per_token(name)}


def _equal(one: TokenRow, other: TokenRow) -> bool:
    return (
        one.tokens.keys() == other.tokens.keys()
        and all(torch.equal(one.tokens[name], other.tokens[name]) for name in one.tokens)
        and torch.equal(one.positions, other.positions)
    )

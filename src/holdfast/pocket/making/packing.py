"""Many questions about one picture in one row: all see the picture, none sees another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from holdfast.pocket.making.exercises import Pair
from holdfast.pocket.making.parts import LLAVA_PREFIX
from holdfast.pocket.tokens import ANSWER, END, PAD, make_tokenizer


@lru_cache(maxsize=1)
def _tokenizer() -> object:
    return make_tokenizer()


@lru_cache(maxsize=200_000)
def encode(text: str) -> tuple[int, ...]:
    """Ids of a piece of text without special tokens."""
    return tuple(_tokenizer()(text, add_special_tokens=False).input_ids)  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows ``[batch, length]``: token ids, segment (0 prefix, 1.. questions, -1 padding), position, label weight.

    ``weight[b, t]`` is what the prediction of token t counts; 0 wherever t is no answer token.
    """

    ids: Tensor
    segment: Tensor
    position: Tensor
    weight: Tensor


def pack(rows: Sequence[Sequence[Pair]], prefix: tuple[int, ...] = LLAVA_PREFIX) -> Packed:
    """Pack each row's pairs behind one picture prefix.

    An answer of k tokens (its end included) weighs the square root of k in all, so that captions do not drown the rest.
    """
    columns: list[tuple[list[int], list[int], list[int], list[float]]] = []
    for pairs in rows:
        ids, segment = list(prefix), [0] * len(prefix)
        position, weight = list(range(len(prefix))), [0.0] * len(prefix)
        for number, (question, answer) in enumerate(pairs, start=1):
            asked, said = (*encode(question), ANSWER), (*encode(answer), END)
            ids += [*asked, *said]
            length = len(asked) + len(said)
            segment += [number] * length
            position += range(len(prefix), len(prefix) + length)
            weight += [0.0] * len(asked) + [len(said) ** -0.5] * len(said)
        columns.append((ids, segment, position, weight))
    longest = max(len(ids) for ids, *_ in columns)

    def padded(which: int, fill: float) -> Tensor:
        return torch.tensor([[*row[which], *[fill] * (longest - len(row[which]))] for row in columns])

    return Packed(padded(0, PAD), padded(1, -1), padded(2, 0), padded(3, 0.0))


def packed_mask(segment: Tensor) -> Tensor:
    """Who attends to whom: bool ``[batch, 1, length, length]``, True where the query (row) sees the key (column).

    Padding sees the prefix too, so that no row is empty.
    """
    query, key = segment[:, :, None], segment[:, None, :]
    length = segment.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    return (((query == key) | (key == 0)) & causal)[:, None]

"""Attention over shared rows in two pieces, because most of a row needs no mask.

Everything up to the end of the shortest prefix of a batch is plainly causal, which kernels do in half the time of a
masked square; only the branches behind it need the mask, as few queries over all keys. Where several groups stand
behind each other in a row, each is attended to by itself in this way, and nothing is computed between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.speed.sharing.packing import PADDING

NAME = "sdpa_shared"
_SPLIT = "_holdfast_split"
"""The attribute of a mask that says how many queries need none of it."""

_PIECES = "_holdfast_pieces"
"""The attribute of a mask of rows that hold several groups: their :class:`Stretch` objects, row by row."""


@dataclass(frozen=True)
class Stretch:
    """One group of its row: the queries from ``begin`` to ``split`` need no mask, those from there to ``end`` do."""

    begin: int
    split: int
    end: int


@contextmanager
def in_two_pieces(model: Any) -> Iterator[None]:
    """Inside, the llm's SDPA attention works on marked masks in two pieces, and on everything else as ever.

    Behind it attention is SDPA's again, whatever was chosen inside.
    """
    config = model.config.get_text_config()
    if config._attn_implementation != "sdpa":
        yield
        return
    _register()
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"


def mark(mask: Tensor, owner: Tensor, piece: Tensor | None = None) -> Tensor:
    """The mask ``[rows, 1, length, length]`` with a note of how many queries need none of it.

    Args:
        mask: Where it will be used; a copy of it would lose the note, which costs time and nothing else.
        owner: See :func:`holdfast.speed.sharing.packing.pack`; ``[rows, length]``.
        piece: Likewise, where rows hold several groups.
    """
    if piece is not None:
        setattr(mask, _PIECES, [_pieces(*row) for row in zip(owner.cpu(), piece.cpu(), strict=True)])
        return mask
    same = (owner == owner[:, :1]) & (owner[:, :1] != PADDING)
    leading = same.long().cumprod(dim=1).sum(dim=1)
    setattr(mask, _SPLIT, int(leading.min()))
    return mask


def _pieces(owner: Tensor, piece: Tensor) -> list[Stretch]:
    """The pieces of one row; padding is one of them."""
    _, counts = piece.unique_consecutive(return_counts=True)
    found, begin = [], 0
    for count in counts.tolist():
        own = owner[begin : begin + count]
        found.append(Stretch(begin, begin + int((own == own[0]).long().cumprod(dim=0).sum()), begin + count))
        begin += count
    return found


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    inner = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *rest: Any,
        **options: Any,
    ) -> Any:
        pieces = getattr(attention_mask, _PIECES, None)
        if pieces and query.shape[2] == key.shape[2] and options.get("position_bias") is None:
            return piece_by_piece(module, query, key, value, attention_mask, pieces, *rest, **options), None
        split = getattr(attention_mask, _SPLIT, 0)
        if not split or query.shape[2] != key.shape[2] or options.get("position_bias") is not None:
            return inner(module, query, key, value, attention_mask, *rest, **options)
        assert attention_mask is not None
        front = options | {"is_causal": True}
        before, _ = inner(module, *(t[:, :, :split] for t in (query, key, value)), None, *rest, **front)
        if split == query.shape[2]:  # rows of one length that share nothing
            return before, None
        behind, _ = inner(module, query[:, :, split:], key, value, attention_mask[:, :, split:], *rest, **options)
        return torch.cat([before, behind], dim=1), None

    def piece_by_piece(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Any,
        pieces: list[list[Stretch]],
        *rest: Any,
        **options: Any,
    ) -> Tensor:
        rows = []
        for row, inside in enumerate(pieces):
            outputs = []
            for piece in inside:
                here = slice(piece.begin, piece.end)
                keys, values = key[row : row + 1, :, here], value[row : row + 1, :, here]
                part = mask[row : row + 1, :, here, here]
                setattr(part, _SPLIT, piece.split - piece.begin)
                asked = query[row : row + 1, :, here]
                outputs.append(attend(module, asked, keys, values, part, *rest, **options)[0])
            rows.append(torch.cat(outputs, dim=1))
        return torch.cat(rows)

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])

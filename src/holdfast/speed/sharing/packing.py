"""Several questions about one image as one row: a common beginning, then branches that do not see each other.

With the prefix ``p`` and branches ``b_1 ... b_k`` a token of ``b_i`` sees ``p`` and what stands before it in ``b_i``,
and counts its position from the end of ``p``. Each branch thus computes what it would compute in a row ``p b_i`` of its
own, and the prefix is computed once, because in a causal model nothing behind it can change it. The loss is a sum over
answer tokens, all of which stand in branches; so is its gradient.

Several such rows, or rows that share nothing, may stand behind each other in one: then a token sees its own piece only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from holdfast.models.batch import Batch
from holdfast.speed.sharing.rows import Side, TokenRow, names, padded, stack_positions

PREFIX, PADDING = -1, -2
"""Owners of tokens that belong to all branches of a row, and to none."""


def shared_length(rows: Sequence[TokenRow], marks: Collection[int]) -> int:
    """How many tokens all ``rows`` begin with and can share; 0 where that does not reach past their images.

    A branch keeps at least one token in front of its first label, or its last token where there are none, because that
    is where it is asked.

    Args:
        rows: Of examples with the same images.
        marks: Ids of image tokens.
    """
    ids = [row.tokens["input_ids"] for row in rows]
    length = min(row.shape[0] for row in ids) - 1
    for row, one in zip(rows, ids, strict=True):
        if "labels" in row.tokens:
            labelled = torch.nonzero(row.tokens["labels"] != -100)
            length = min(length, int(labelled[0]) - 1) if labelled.numel() else length
        differ = torch.nonzero(one[: max(length, 0)] != ids[0][: max(length, 0)])
        length = int(differ[0]) if differ.numel() else length
    images = torch.nonzero(torch.isin(ids[0], torch.tensor(sorted(marks))))
    last = int(images[-1]) if images.numel() else -1
    return length if length > last and images.numel() else 0


def pack(
    groups: Sequence[Sequence[int]],
    rows: Sequence[TokenRow],
    marks: Collection[int],
    pad: int,
    *,
    side: Side = "right",
    lay: Sequence[Sequence[int]] | None = None,
) -> Batch:
    """A row for each group, or several groups behind each other in one.

    Args:
        groups: Indices into ``rows``; several in a group share their beginning.
        rows: All rows of the batch.
        marks: Ids of image tokens.
        pad: Id of the padding token.
        side: Of the padding.
        lay: Which groups become which row, by their places in ``groups``; default: each a row of its own.

    Returns:
        The batch without mask and images; its ``owner`` ``[rows, length]`` says whose branch a token belongs to, as
        index into ``rows``, :data:`PREFIX` or :data:`PADDING`. With ``lay`` its ``piece`` ``[rows, length]`` says which
        group, counted from 0 in each row, or :data:`PADDING`.
    """
    tokens: dict[str, list[Tensor]] = {name: [] for name in names(rows)}
    positions: list[Tensor] = []
    owners: list[Tensor] = []
    three = any(row.positions.ndim == 2 for row in rows)
    for group in groups:
        members = [rows[index] for index in group]
        shared = shared_length(members, marks) if len(members) > 1 else 0
        for name, parts in tokens.items():
            values = [row.entries(name) for row in members]
            parts.append(torch.cat([values[0][:shared], *(value[shared:] for value in values)]))
        places = [
            row.positions.expand(3, -1) if three and row.positions.ndim == 1 else row.positions for row in members
        ]
        positions.append(torch.cat([places[0][..., :shared], *(place[..., shared:] for place in places)], dim=-1))
        whose = [torch.full((row.length - shared,), index) for row, index in zip(members, group, strict=True)]
        owners.append(torch.cat([torch.full((shared,), PREFIX), *whose]))
    pieces = None
    if lay is not None:
        counted = [[torch.full_like(owners[group], place) for place, group in enumerate(row)] for row in lay]
        pieces = [torch.cat(row) for row in counted]
        tokens = {name: _joined(parts, lay) for name, parts in tokens.items()}
        positions, owners = _joined(positions, lay), _joined(owners, lay)
    length = max(owner.shape[0] for owner in owners)
    fill = {"input_ids": pad, "labels": -100}
    text = {
        name: torch.stack([padded(part, length, fill.get(name, 0), side) for part in parts])
        for name, parts in tokens.items()
    }
    text["position_ids"] = stack_positions(positions, length, side)
    owner = torch.stack([padded(one, length, PADDING, side) for one in owners])
    piece = None if pieces is None else torch.stack([padded(one, length, PADDING, side) for one in pieces])
    return Batch(text, labels=text.pop("labels", None), owner=owner, piece=piece)


def _joined(parts: Sequence[Tensor], lay: Sequence[Sequence[int]]) -> list[Tensor]:
    return [torch.cat([parts[group] for group in row], dim=-1) for row in lay]


def block_mask(query: Tensor, key: Tensor, offset: int = 0) -> Tensor:
    """Who sees whom, ``[rows, 1, queries, keys]``, true where a query sees a key.

    Args:
        query: Owners of the queries ``[rows, queries]``.
        key: Owners of the keys ``[rows, keys]``.
        offset: Place of the first query among the keys.
    """
    whose = (key[:, None] == PREFIX) | (key[:, None] == query[:, :, None])
    places = torch.arange(key.shape[1], device=key.device)
    before = places[None] <= places[offset : offset + query.shape[1], None]
    return (whose & before)[:, None]


def same_piece(piece: Tensor) -> Tensor:
    """Which tokens of a row with several groups belong to one of them, ``[rows, 1, length, length]``."""
    return (piece[:, None] == piece[:, :, None])[:, None]


def as_additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as eager attention adds it: 0 where one sees, the smallest number where not."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)

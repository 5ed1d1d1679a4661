"""The k-th largest change of a whole model, exactly, without holding the changes.

The bit pattern of a float32 above zero, read as a whole number, grows with its value. So two passes over the values
find any order statistic exactly: the first counts the upper 16 bits of every value and says in which of 32,768 bins the
wanted one lies, the second counts the lower 16 bits of the values in that bin. A histogram takes 0.5 MB at most. With
the bits of values below zero turned over the same holds for signed values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from holdfast.methods.fusion.base import Passes, Piece

_UPPER, _LOWER = 1 << 15, 1 << 16

Key = tuple[str, int]


class _Search:
    """The search for one threshold."""

    def __init__(self) -> None:
        self.counts = torch.zeros(_UPPER, dtype=torch.int64)
        self.values = 0
        self.bin = 0
        self.rank = 0

    def settle_upper(self, share: float) -> None:
        """Choose the bin of the ``round(share * values)``-th largest value."""
        self.rank = max(1, round(share * self.values))
        self.bin = self._descend()
        self.counts = torch.zeros(0, dtype=torch.int64)

    def settle_lower(self, counts: Tensor) -> float:
        """The value itself."""
        self.counts = counts
        bits = (self.bin << 16) | self._descend()
        found: float = struct.unpack("<f", struct.pack("<I", bits))[0]
        return found

    def _descend(self) -> int:
        """The bin that holds the value of rank ``self.rank`` from above; the rank becomes that within the bin."""
        above = self.counts.flip(0).cumsum(0)
        place = int(torch.searchsorted(above, torch.tensor(self.rank)))
        self.rank -= int(above[place - 1]) if place else 0
        return len(above) - 1 - place


def thresholds(passes: Passes, share: float, *, per_tensor: bool) -> Callable[[str, int], float]:
    """The smallest size among the ``share`` of largest changes, per expert.

    Args:
        passes: Gives all pieces once more at every call.
        share: Above 0 and at most 1, of the values of those tensors that the expert changed at all; at least one
            value.
        per_tensor: One threshold a tensor instead of one for the whole model.

    Returns:
        ``threshold(name, expert)``: a change stays if its size is at least that.
    """
    searches: dict[Key, _Search] = {}
    for name, expert, counts, values in _histograms(passes, lambda key, bits: bits >> 16, _UPPER):
        search = searches.setdefault((name if per_tensor else "", expert), _Search())
        search.counts += counts
        search.values += values
        if per_tensor:
            search.settle_upper(share)
    if not per_tensor:
        for search in searches.values():
            search.settle_upper(share)

    def lower(key: Key, bits: Tensor) -> Tensor:
        search = searches.get(key if per_tensor else ("", key[1]))
        return bits[(bits >> 16) == search.bin] & 0xFFFF if search is not None else bits[:0]

    found: dict[Key, float] = {}
    totals: dict[Key, Tensor] = {}
    for name, expert, counts, _ in _histograms(passes, lower, _LOWER):
        if per_tensor:
            found[name, expert] = searches[name, expert].settle_lower(counts)
        else:
            totals["", expert] = totals["", expert] + counts if ("", expert) in totals else counts
    for key, counts in totals.items():
        found[key] = searches[key].settle_lower(counts)
    return lambda name, expert: found.get((name if per_tensor else "", expert), 0.0)


def _histograms(
    passes: Passes, index: Callable[[Key, Tensor], Tensor], bins: int
) -> Iterator[tuple[str, int, Tensor, int]]:
    """For every tensor and every expert that changed it: name, expert, histogram of ``index``, number of values."""
    for name, group in groupby(passes(), key=lambda piece: piece.name):
        counts: dict[int, Tensor] = {}
        changed: set[int] = set()
        values = 0
        for piece in group:
            values += len(piece.base)
            for expert, change in enumerate(piece.changes):
                bits = change.abs().view(torch.int32)
                if bool(bits.any()):
                    changed.add(expert)
                histogram = torch.bincount(index((name, expert), bits), minlength=bins)
                counts[expert] = counts[expert] + histogram if expert in counts else histogram
        for expert in sorted(changed):
            yield name, expert, counts[expert], values


def order_statistics(
    passes: Passes, values: Callable[[Piece], Sequence[Tensor]], ranks: Sequence[Callable[[int], int]]
) -> list[list[float]]:
    """Values at some places of each row's ascending order over the whole model.

    Args:
        passes: Gives all pieces once more at every call.
        values: Of one piece, a flat float32 tensor a row (an expert's changes, or their scores).
        ranks: From the number of a row's values to the place, from 0.

    Returns:
        Per row, per rank.
    """
    upper: list[Tensor] = []
    for piece in passes():
        for row, keys in enumerate(map(_ascending, values(piece))):
            counts = torch.bincount(keys >> 16, minlength=_LOWER)
            upper[row : row + 1] = [upper[row] + counts if row < len(upper) else counts]
    wanted = [[_place(counts, rank(int(counts.sum()))) for rank in ranks] for counts in upper]
    lower = [[torch.zeros(_LOWER, dtype=torch.int64) for _ in ranks] for _ in upper]
    for piece in passes():
        for row, keys in enumerate(map(_ascending, values(piece))):
            for number, (bin_, _) in enumerate(wanted[row]):
                lower[row][number] += torch.bincount(keys[(keys >> 16) == bin_] & 0xFFFF, minlength=_LOWER)
    return [
        [
            _value((bin_ << 16) | _place(counts, rest)[0])
            for (bin_, rest), counts in zip(wanted[row], lower[row], strict=True)
        ]
        for row in range(len(upper))
    ]


def _ascending(values: Tensor) -> Tensor:
    """Whole numbers from 0 to 2^32 - 1 in the order of the values."""
    bits = (values + 0.0).view(torch.int32).long()  # -0 and 0 are one value
    return torch.where(bits < 0, -(bits & 0x7FFFFFFF) - 1, bits) + (1 << 31)


def _value(key: int) -> float:
    """The value behind a number of :func:`_ascending`."""
    bits = key - (1 << 31)
    bits = bits if bits >= 0 else (-(bits + 1)) | (1 << 31)
    found: float = struct.unpack("<f", struct.pack("<I", bits))[0]
    return found


def _place(counts: Tensor, rank: int) -> tuple[int, int]:
    """The bin that holds the value of that rank from below, and its rank within the bin."""
    below = counts.cumsum(0)
    place = int(torch.searchsorted(below, torch.tensor(rank), right=True))
    return place, rank - (int(below[place - 1]) if place else 0)

"""The k-th largest change of a whole model, exactly, without holding the changes.

The bit pattern of a float32 above zero, read as a whole number, grows with its value. So two passes over the values
find any order statistic exactly: the first counts the upper 16 bits of every value and says in which of 32,768 bins the
wanted one lies, the second counts the lower 16 bits of the values in that bin. A histogram takes 0.5 MB at most.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import groupby

import torch
from torch import Tensor

from holdfast.methods.fusion.base import Passes

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

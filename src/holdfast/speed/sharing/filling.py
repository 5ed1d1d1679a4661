"""Rows of different images laid behind each other in one row, so that none is padded to the longest.

A token sees its own piece of the row only, at the positions of a row of its own, so each piece computes what it would
compute alone; attention goes piece by piece (:mod:`holdfast.speed.sharing.attention`) and never over the whole square.
What is saved is padding; what it costs are calls, one or two a piece and layer. Both are counted. Kernels that are told
where each row begins (:mod:`holdfast.speed.sharing.varlen`) take one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PADDED = 0.1
"""Share of padding above which rows are laid behind each other."""

MOST = 8192
"""Tokens of a row: its mask has their square in bytes, even where no attention reads it."""

CALL = 1e-4
"""Seconds of one more attention call, forward and backward."""


@dataclass(frozen=True)
class Filling:
    """When rows are laid behind each other.

    Attributes:
        token: Seconds that a token takes in a training step, as counted.
        layers: Of the llm.
        padded: Least share of padding.
        by_boundaries: Attention is told where rows begin: no mask, no more calls, and one row for all.
    """

    token: float
    layers: int
    padded: float = PADDED
    by_boundaries: bool = False

    def lay(self, lengths: Sequence[int]) -> list[list[int]] | None:
        """Which pieces become which row, by their places; None where padding is no more than asked for, or cheaper.

        Args:
            lengths: Tokens of each piece.
        """
        if padding(lengths) <= self.padded:
            return None
        if self.by_boundaries:
            return [list(range(len(lengths)))]
        rows = divide(lengths, max(MOST, *lengths))
        filled = len(rows) * max(sum(lengths[piece] for piece in row) for row in rows)
        saved = (len(lengths) * max(lengths) - filled) * self.token
        return rows if saved > len(lengths) * self.layers * CALL else None


def padding(lengths: Sequence[int]) -> float:
    """The share of a padded batch that holds no token."""
    return 1 - sum(lengths) / (len(lengths) * max(lengths))


def divide(lengths: Sequence[int], most: int) -> list[list[int]]:
    """As few rows as hold ``most`` tokens each, about equally long; pieces keep their order within a row.

    The longest pieces are given out first, each to the shortest row.
    """
    order = sorted(range(len(lengths)), key=lambda piece: (-lengths[piece], piece))
    count = -(-sum(lengths) // most)
    while True:
        rows: list[list[int]] = [[] for _ in range(count)]
        loads = [0] * count
        for piece in order:
            least = loads.index(min(loads))
            rows[least].append(piece)
            loads[least] += lengths[piece]
        if max(loads) <= most:
            return sorted(sorted(row) for row in rows if row)
        count += 1

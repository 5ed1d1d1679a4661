"""Questions that share an image are not independent: sums per image, and the sums over items that intervals need.

Two questions on one picture stand or fall together when the model misreads the picture, so the independent unit of
every interval and test here is the image (Miller, 'Adding error bars to evals', arXiv 2411.00640, section 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Clusters:
    """Sums of the scores before and after, per cluster and over all items.

    Attributes:
        size: Items of each cluster, float64 [clusters].
        before: Sum of the scores before, float64 [clusters].
        after: Sum of the scores after, float64 [clusters].
        n: All items.
        risen: Sum over items of what their scores rose by; for 0/1 scores the items learned.
        fallen: Sum over items of what their scores fell by; for 0/1 scores the items forgotten.
        squares: Sums over items of the squared score before, the squared score after, and the squared difference.
    """

    size: Floats
    before: Floats
    after: Floats
    n: int
    risen: float
    fallen: float
    squares: tuple[float, float, float]

    @property
    def count(self) -> int:
        """How many independent units there are."""
        return len(self.size)

    @property
    def shared(self) -> bool:
        """Whether any two items share a cluster."""
        return self.count < self.n

    @property
    def change(self) -> Floats:
        """Summed difference of each cluster, float64 [clusters]."""
        difference: Floats = self.after - self.before
        return difference


def gather(before: Floats, after: Floats, keys: Sequence[str | None]) -> Clusters:
    """Sum scores over the items of each cluster.

    Args:
        before: Scores of the items before, [items].
        after: Scores of the same items after, [items].
        keys: Cluster of each item; an item without one is its own cluster.

    Returns:
        The clusters in a canonical order, so that nothing computed from them depends on the order of the items.
    """
    names: dict[str, int] = {}
    index = np.empty(len(before), dtype=np.int64)
    count = 0
    for position, key in enumerate(keys):
        if key is None:
            index[position] = count
            count += 1
            continue
        known = names.setdefault(key, count)
        index[position] = known
        count += known == count
    size = np.bincount(index, minlength=count).astype(np.float64)
    sums_before: Floats = np.bincount(index, weights=before, minlength=count).astype(np.float64)
    sums_after: Floats = np.bincount(index, weights=after, minlength=count).astype(np.float64)
    order = np.lexsort((sums_after, sums_before, size))
    differences = np.sort(after - before)
    return Clusters(
        size=size[order],
        before=sums_before[order],
        after=sums_after[order],
        n=len(before),
        risen=float(differences[differences > 0].sum()),
        fallen=-float(differences[differences < 0].sum()),
        squares=(_squares(before), _squares(after), float(differences @ differences)),
    )


def _squares(scores: Floats) -> float:
    ordered = np.sort(scores)
    return float(ordered @ ordered)

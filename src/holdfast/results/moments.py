"""What the errors of sums of recipes are made of, and the errors of many sums at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from holdfast.results.items import Floats
from holdfast.results.variance import Basis, Prior, SeedPart, errors


@dataclass(frozen=True)
class SumMoments:
    """Of some rows: recipes with the same trainings, or one sum of recipes.

    Attributes:
        means: Of each row, [rows].
        seeds: Number of seeds of each condition, and the covariance of the rows over them, [rows, rows].
        items: Covariance of the means over items, [rows, rows].
        both: What of that is of items in one seed only.
        freedom: Degrees of freedom of ``items``.
        floor: What is added to the variance over items of any sum.
        known: Whether the items are known.
    """

    means: Floats
    seeds: tuple[tuple[int, Floats], ...]
    items: Floats
    both: Floats
    freedom: float
    floor: float
    known: bool

    @property
    def seeds_each(self) -> float:
        """Trainings a condition, on average."""
        return sum(count for count, _ in self.seeds) / len(self.seeds)

    def of(self, rows: Sequence[int]) -> SumMoments:
        """Of some of the rows."""
        place = np.ix_(rows, rows)
        return replace(
            self,
            means=self.means[list(rows)],
            seeds=tuple((count, found[place]) for count, found in self.seeds),
            items=self.items[place],
            both=self.both[place],
        )


class Sums(Protocol):
    """Weighted sums of rows."""

    def value(self, means: Floats) -> Floats:
        """Of the rows' means, [sums]."""

    def spread(self, covariance: Floats) -> Floats:
        """Variance of each from the rows' covariance, [sums]."""


@dataclass(frozen=True)
class OneSum:
    """One sum, by the weights of all rows, [rows]."""

    weights: Floats

    def value(self, means: Floats) -> Floats:
        """See :class:`Sums`."""
        return np.array([self.weights @ means])

    def spread(self, covariance: Floats) -> Floats:
        """See :class:`Sums`."""
        return np.array([max(0.0, float(self.weights @ covariance @ self.weights))])


@dataclass(frozen=True)
class RowPairs:
    """Differences, by the numbers of their first and second rows, [sums] each."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]

    def value(self, means: Floats) -> Floats:
        """See :class:`Sums`."""
        found: Floats = means[self.first] - means[self.second]
        return found

    def spread(self, covariance: Floats) -> Floats:
        """See :class:`Sums`."""
        own = np.diagonal(covariance)
        found: Floats = own[self.first] + own[self.second] - 2 * covariance[self.first, self.second]
        return np.maximum(0.0, found)


def errors_of(
    moments: SumMoments, sums: Sums, prior: Prior, *, squares: Floats, reach: Floats
) -> tuple[Floats, Floats, Floats, Basis]:
    """Values, standard errors, degrees of freedom, all [sums], and what the errors carry.

    Args:
        moments: Of the rows.
        sums: Of them.
        prior: What the spreads over seeds have in common.
        squares: Sums of the squared weights of the recipes that changed anything, [sums].
        reach: The larger of the sums of their positive and of their negative weights, [sums].
    """
    count = len(moments.seeds)
    spreads = squares * prior.variance
    parts = [SeedPart(1 / count, seeds, sums.spread(found), spreads) for seeds, found in moments.seeds]
    items = sums.spread(moments.items) + reach**2 * moments.floor if moments.known else None
    both = sums.spread(moments.both)
    error, freedom, basis = errors(parts, prior.freedom, items=items, items_freedom=moments.freedom, both=both)
    still = squares == 0
    if still.any():  # nothing but recipes that changed no item: exactly nothing
        error, freedom = np.where(still, 0.0, error), np.where(still, math.inf, freedom)
        basis = "items and seeds" if still.all() else basis
    return sums.value(moments.means), error, freedom, basis

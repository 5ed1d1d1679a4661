"""Which recipes can be told apart, and the ranks that are left when those that cannot share one.

Every pair is compared on the trainings and items that both have; Holm's correction runs over all pairs, so that the
chance of any false order is below 1 - confidence. What is clearly better than something that is clearly better than a
third is better than the third: that follows without another test. The rank of a recipe is then a range, from one more
than are clearly better to the number that are not clearly worse (Mogstad, Romano, Shaikh and Wilhelm, Review of
Economic Studies 91, 2024); two recipes that cannot be told apart have ranges that overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.results.measured import Measured
from holdfast.results.variance import Effect
from holdfast.verdict.statistics.decisions import holm

LEVEL = 0.05


@dataclass(frozen=True)
class PairEffect:
    """One recipe less another.

    Attributes:
        first, second: Numbers of the recipes.
        effect: The difference; ``None`` where no training is shared.
        p_holm: Corrected for all pairs; 1 where there is no difference.
    """

    first: int
    second: int
    effect: Effect | None
    p_holm: float

    @property
    def clear(self) -> bool:
        """Whether the two can be told apart."""
        return self.p_holm < LEVEL


def all_pairs(measured: Measured) -> list[PairEffect]:
    """Every pair, in the order of the recipes; one training each tells none apart, whatever its items say."""
    effects = [
        (i, j, effect, p if effect is None or effect.repeated else 1.0) for i, j, effect, p in measured.differences()
    ]
    corrected = iter(holm([p for _, _, effect, p in effects if effect is not None]))
    return [PairEffect(i, j, effect, 1.0 if effect is None else next(corrected)) for i, j, effect, _ in effects]


def rank_ranges(count: int, pairs: Sequence[PairEffect], *, higher_is_better: bool = True) -> list[tuple[int, int]]:
    """The best and the worst rank that each recipe may have.

    Args:
        count: Recipes.
        pairs: All pairs of them.
        higher_is_better: Of the measure.
    """
    better = np.zeros((count, count), dtype=bool)
    for pair in pairs:
        if pair.effect is not None and pair.clear:
            first = (pair.effect.value > 0) == higher_is_better
            better[(pair.first, pair.second) if first else (pair.second, pair.first)] = True
    better = _closed(better)
    return [(1 + int(better[:, r].sum()), count - int(better[r].sum())) for r in range(count)]


def _closed(better: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What follows from what is known."""
    while True:
        more = better | ((better.astype(np.float32) @ better.astype(np.float32)) > 0.5)
        if (more == better).all():
            return better
        better = more


def in_words(rank: tuple[int, int]) -> str:
    """``2`` or ``1-3``."""
    low, high = rank
    return str(low) if low == high else f"{low}-{high}"

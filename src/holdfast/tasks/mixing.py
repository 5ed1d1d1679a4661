"""Several data sets as one stream of training examples, each taken as often as its weight says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from holdfast.data.examples import Example, Examples


class Weighted(Examples):
    """The examples of a data set, each ``weight`` times: whole times all of them, and of the rest a share drawn once.

    ``weight: 2.5`` is every example twice and half of them a third time; ``weight: 0.2`` is a fifth of them.
    """

    def __init__(self, examples: Sequence[Example], weight: float, seed: int) -> None:
        whole, rest = divmod(weight, 1.0)
        extra = np.random.default_rng((seed, 17)).permutation(len(examples))[: round(rest * len(examples))]
        self._examples = examples
        self._places = np.concatenate([np.tile(np.arange(len(examples)), int(whole)), np.sort(extra)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def at(self, place: int) -> Example:
        return self._examples[int(self._places[place])]


def weighted(examples: Sequence[Example], weight: float, seed: int) -> Sequence[Example]:
    """``examples`` at their weight; themselves where it is 1."""
    return examples if weight == 1 else Weighted(examples, weight, seed)

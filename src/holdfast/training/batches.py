"""Which examples make up which step: a pure function of seed and step, so that resuming needs no state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.config.schema import Train
from holdfast.data.examples import Example


@dataclass(frozen=True)
class Stream:
    """Endless passes over the examples, each in its own random order, cut into batches.

    A batch at the end of a pass is filled up from the next one, so that every step has the same size.
    """

    examples: Sequence[Example]
    batch_size: int
    accumulate: int
    seed: int

    def step(self, step: int) -> Iterator[list[Example]]:
        """The ``accumulate`` batches of one optimizer step, counted from 0."""
        for part in range(self.accumulate):
            begin = (step * self.accumulate + part) * self.batch_size
            yield [self._at(begin + offset) for offset in range(self.batch_size)]

    def _at(self, position: int) -> Example:
        epoch, place = divmod(position, len(self.examples))
        return self.examples[int(self._order(epoch)[place])]

    def _order(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        cached: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = self.__dict__.setdefault("_orders", {})
        if epoch not in cached:
            if len(cached) > 2:
                cached.clear()
            cached[epoch] = np.random.default_rng((self.seed, 3, epoch)).permutation(len(self.examples))
        return cached[epoch]


def count_steps(train: Train, examples: int) -> int:
    """Optimizer steps of a run."""
    if train.steps is not None:
        return train.steps
    return max(1, math.ceil(train.epochs * examples / (train.batch_size * train.accumulate)))

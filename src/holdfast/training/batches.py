"""Which examples make up which step: a pure function of seed and step, so that resuming needs no state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from holdfast.config.schema import Train
from holdfast.data.examples import Example
from holdfast.speed.division import text_length
from holdfast.speed.sharing.rows import by_images

WINDOW = 50
"""Batches whose examples are sorted by length together."""


@dataclass(frozen=True)
class Stream:
    """Endless passes over the examples, each in its own random order, cut into batches.

    A batch at the end of a pass is filled up from the next one, so that every step has the same size.

    ``order`` is ``random``; ``images``: questions about one image follow each other, images in random order, so that a
    batch can share their tokens (where every image has one question the two are the same); or ``length``: like
    ``images``, and images are sorted by the length of their questions within windows of batches that then come in
    random order, so that rows of a batch waste little padding.
    """

    examples: Sequence[Example]
    batch_size: int
    accumulate: int
    seed: int
    order: Literal["images", "random", "length"] = "images"

    def step(self, step: int) -> Iterator[list[Example]]:
        """The ``accumulate`` batches of one optimizer step, counted from 0."""
        for part in range(self.accumulate):
            begin = (step * self.accumulate + part) * self.batch_size
            yield [self._at(begin + offset) for offset in range(self.batch_size)]

    def _at(self, position: int) -> Example:
        epoch, place = divmod(position, len(self.examples))
        return self.examples[int(self._epoch(epoch)[place])]

    def _epoch(self, epoch: int) -> Indices:
        cached: dict[int, Indices] = self.__dict__.setdefault("_orders", {})
        if epoch not in cached:
            if len(cached) > 2:
                cached.clear()
            cached[epoch] = self._draw(np.random.default_rng((self.seed, 3, epoch)))
        return cached[epoch]

    def _draw(self, generator: np.random.Generator) -> Indices:
        if self.order == "random":
            return generator.permutation(len(self.examples))
        groups = [self._groups[int(index)] for index in generator.permutation(len(self._groups))]
        groups = [group if len(group) == 1 else generator.permutation(group) for group in groups]
        if self.order == "length":
            groups = self._by_length(groups, generator)
        return np.concatenate(groups)

    @cached_property
    def _groups(self) -> list[Indices]:
        return [np.array(group) for group in by_images(self.examples)]

    def _by_length(self, groups: list[Indices], generator: np.random.Generator) -> list[Indices]:
        mean = len(self.examples) / len(groups)
        batch = max(1, round(self.batch_size / mean))
        batches: list[list[Indices]] = []
        for begin in range(0, len(groups), batch * WINDOW):
            window = groups[begin : begin + batch * WINDOW]
            window.sort(key=lambda group: max(text_length(self.examples[int(index)]) for index in group))
            batches += [window[first : first + batch] for first in range(0, len(window), batch)]
        return [group for index in generator.permutation(len(batches)) for group in batches[int(index)]]


Indices = np.ndarray[Any, np.dtype[np.int64]]


def parts(examples: Sequence[Example], size: int) -> list[list[Example]]:
    """One step's examples in forward passes of at most ``size``: those of an image together, like lengths together.

    The step's gradient is a sum over its examples, so how they are divided changes nothing but time and memory.
    """
    together = [[examples[index] for index in group] for group in by_images(examples)]
    groups = sorted(together, key=lambda group: max(map(text_length, group)))
    ordered = [example for group in groups for example in group]
    return [ordered[begin : begin + size] for begin in range(0, len(ordered), size)]


def count_steps(train: Train, examples: int) -> int:
    """Optimizer steps of a run."""
    if train.steps is not None:
        return train.steps
    return max(1, math.ceil(train.epochs * examples / (train.batch_size * train.accumulate)))

"""Replay: some source examples among the target's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Options
from holdfast.methods.stabilisers.base import Stabiliser


class Share(Options):
    """How much is replayed."""

    ratio: float = Field(default=0.1, gt=0, lt=1, description="share of the training examples that are source examples")


class Replay(Stabiliser):
    """Mixes source training examples in; an upper reference rather than a data-free method."""

    card = Card(
        name="replay",
        paradigm="any",
        family="data",
        summary="some source examples among the target's",
        paper="experience replay",
        year=None,
    )
    Settings = Share

    def mix(self, examples: Sequence[Example], sources: Sequence[Example], seed: int) -> list[Example]:
        if not sources:
            raise HoldfastError(
                "stabiliser 'replay' needs training examples of the sources, and none were given",
                remedy="list sources that have training data",
            )
        count = round(len(examples) * self.options.ratio / (1 - self.options.ratio))
        generator = np.random.default_rng((seed, 7))
        drawn = generator.permutation(len(sources))[:count] if count <= len(sources) else None
        if drawn is None:
            drawn = generator.integers(len(sources), size=count)
        return [*examples, *(sources[int(index)] for index in drawn)]

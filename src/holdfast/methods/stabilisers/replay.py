"""Replay: some source examples among the target's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Options, none_given
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard
from holdfast.tasks.drawn import Joined


class Share(Options):
    """How much is replayed, and of what."""

    ratio: float = Field(default=0.1, gt=0, lt=1, description="share of the training examples that are source examples")
    weights: tuple[float, ...] | None = Field(
        default=None, description="of the sources, in their order; default: by their numbers of training examples"
    )


class Replay(Stabiliser):
    """Mixes source training examples in; an upper reference rather than a data-free method.

    With ``weights`` every source gives its share of them, whatever its size; without, every example is as likely.
    """

    card = StabiliserCard(
        name="replay",
        family="data",
        summary="some source examples among the target's",
        paper="experience replay",
        year=None,
    )
    Settings = Share
    over_shards = True
    needs_sources = True

    def mix(self, examples: Sequence[Example], sources: Sequence[Example], seed: int) -> list[Example]:
        if not sources:
            raise none_given("stabiliser 'replay'", "sources")
        count = round(len(examples) * self.options.ratio / (1 - self.options.ratio))
        generator = np.random.default_rng((seed, 7))
        parts, counts = self._shares(sources, count)
        return [*examples, *(one for part, n in zip(parts, counts, strict=True) for one in _drawn(part, n, generator))]

    def _shares(self, sources: Sequence[Example], count: int) -> tuple[list[Sequence[Example]], list[int]]:
        """What is drawn from, and how many of each: the shares rounded so that they sum to ``count``."""
        weights = self.options.weights
        if weights is None:
            return [sources], [count]
        parts = list(sources.parts) if isinstance(sources, Joined) else [sources]
        if len(weights) != len(parts) or min(weights) < 0 or not sum(weights):
            raise HoldfastError(
                f"stabiliser 'replay' has the weights {list(weights)} for {len(parts)} sources",
                remedy="give one number for each, at least 0 and not all of them 0",
            )
        empty = next((place for place, part in enumerate(parts) if weights[place] and not part), None)
        if empty is not None:
            raise HoldfastError(
                f"source {empty + 1} has a weight in stabiliser 'replay' and no training examples",
                remedy="give it the weight 0",
            )
        exact = [count * weight / sum(weights) for weight in weights]
        counts = [int(share) for share in exact]
        for place in sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])[: count - sum(counts)]:
            counts[place] += 1
        return parts, counts


def _drawn(part: Sequence[Example], count: int, generator: np.random.Generator) -> list[Example]:
    """No example twice while there are enough."""
    drawn = generator.permutation(len(part))[:count] if count <= len(part) else None
    if drawn is None:
        drawn = generator.integers(len(part), size=count)
    return [part[int(index)] for index in drawn]

"""What a stabiliser may do: add to the loss, or add to the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError, nearest
from holdfast.methods.contract import Method, Options
from holdfast.methods.registry import check_options


class Stabiliser:
    """A term or rule on top of any method so that general ability stays."""

    name: ClassVar[str]
    paper: ClassVar[str]
    year: ClassVar[int | None]
    Settings: ClassVar[type[Options]] = Options

    def __init__(self, options: Options) -> None:
        self.options: Any = options

    def begin(self, methods: Mapping[str, Method]) -> None:
        """Called once after every method is attached.

        Raises:
            HoldfastError: The stabiliser does not fit the recipe; the reason is given.
        """

    def penalty(self, step: int) -> Tensor | None:
        """A term added to the loss of every optimizer step, or nothing."""
        return None

    def mix(self, examples: Sequence[Example], sources: Sequence[Example], seed: int) -> list[Example]:
        """The training examples, possibly with others among them."""
        return list(examples)


STABILISERS: dict[str, type[Stabiliser]] = {}


def stabiliser(kind: type[Stabiliser]) -> type[Stabiliser]:
    """Class decorator: enter the registry."""
    STABILISERS[kind.name] = kind
    return kind


class Strength(Options):
    """How hard the pull is."""

    strength: float = Field(default=1e-3, ge=0)


@stabiliser
class L2SP(Stabiliser):
    """``strength / 2 * sum (w - w0)^2`` over the trained base weights (arXiv 1802.01483)."""

    name, paper, year = "l2_sp", "arXiv 1802.01483", 2018
    Settings = Strength

    def begin(self, methods: Mapping[str, Method]) -> None:
        self.methods = list(methods.values())
        if not any(method.anchors() for method in self.methods):
            raise HoldfastError(
                "stabiliser 'l2_sp' pulls trained base weights back, and this recipe trains none",
                remedy="use it with a selective method",
            )

    def penalty(self, step: int) -> Tensor | None:
        terms = [(now - base).square().sum() for method in self.methods for now, base in method.anchors()]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return torch.as_tensor(total * (self.options.strength / 2))


class Share(Options):
    """How much is replayed."""

    ratio: float = Field(default=0.1, gt=0, lt=1, description="share of the training examples that are source examples")


@stabiliser
class Replay(Stabiliser):
    """Mixes source training examples in; an upper reference rather than a data-free method."""

    name, paper, year = "replay", "experience replay", None
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


def make_stabiliser(name: str, options: Mapping[str, Any]) -> Stabiliser:
    """The stabiliser of that name with checked options.

    Raises:
        HoldfastError: Unknown name or option.
    """
    if name not in STABILISERS:
        raise HoldfastError(f"unknown stabiliser '{name}'", remedy=nearest(name, STABILISERS))
    kind = STABILISERS[name]
    return kind(check_options(kind.Settings, options, f"stabiliser '{name}'"))

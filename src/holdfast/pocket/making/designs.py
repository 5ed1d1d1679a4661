"""The models that the build makes, by name: their network, their processor, and where their eye comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from holdfast.errors import HoldfastError, nearest
from holdfast.pocket.making.architecture import make_model
from holdfast.pocket.making.plan import FULL, QUICK, SECOND, BuildPlan
from holdfast.pocket.making.second import make_second_model, make_second_processor, take_over_eye
from holdfast.pocket.tokens import make_processor


@dataclass(frozen=True)
class Design:
    """One model of the pocket world.

    Attributes:
        name: As ``model:`` of a recipe names it.
        make_model: The network of a seed, untrained.
        make_processor: Tokenizer and image processor together.
        full: How long each stage runs.
        take_over: Gives it an eye that another one has learned; None: it learns its own.
        half: Its weights are rounded to half precision, in which they are stored.
    """

    name: str
    make_model: Callable[[int], Any]
    make_processor: Callable[[], Any]
    full: BuildPlan = FULL
    take_over: Callable[[Any], None] | None = None
    half: bool = False

    def plan(self, *, quick: bool) -> BuildPlan:
        """The stages of the model, or a few steps of each."""
        return replace(QUICK, eye=SECOND.eye) if quick and self.take_over else QUICK if quick else self.full

    def round(self, model: Any) -> None:
        """Give the weights (in place) the values that reading the stored ones back gives."""
        if self.half:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.copy_(parameter.half())


DESIGNS = {
    design.name: design
    for design in (
        Design("pocket", make_model, make_processor),
        Design("pocket-2", make_second_model, make_second_processor, SECOND, take_over_eye, half=True),
    )
}


def find_design(name: str) -> Design:
    """A design by its name.

    Raises:
        HoldfastError: There is none.
    """
    if name not in DESIGNS:
        raise HoldfastError(f"there is no pocket model '{name}'", remedy=nearest(name, DESIGNS))
    return DESIGNS[name]

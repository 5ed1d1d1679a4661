"""Orthogonality: the change of a weight keeps away from what the weight itself does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Method, Options
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, added, held_of
from holdfast.models.packed import is_packed


class Apart(Options):
    """How hard, and apart from what."""

    source = "JudgingH/PEGO, whose term is a sum: here means, so that it does not grow with the width"
    strength: float = Field(default=1e-3, ge=0, description="lambda")
    form: Literal["weights", "directions"] = Field(
        default="weights", description="from all of the weight (PEGO), or from its first directions (as O-LoRA from A)"
    )
    directions: int = Field(default=16, gt=0, description="right singular vectors of the weight, for 'directions'")


class Orthogonality(Stabiliser):
    """``strength * mean over layers of mean |W0 D^T|`` with ``D`` the change of a linear layer's weight; or of
    ``mean |D V|`` with ``V`` the first right singular vectors of ``W0``.

    PEGO has it for LoRA in a vision transformer; here for every method that changes weights of linear layers. Builds
    ``D``, and with ``form: weights`` an ``[out, out]`` product, for every layer and step.
    """

    card = StabiliserCard(
        name="orthogonality",
        family="distance",
        summary="the change of a weight keeps away from the weight's own directions",
        paper="arXiv 2407.15085",
        year=2024,
        official_code="JudgingH/PEGO",
        checked_against="NumPy on merged weights",
    )
    Settings = Apart

    def check(self, methods: Mapping[str, Method]) -> None:
        self.held = held_of(
            methods,
            lambda method: method.weight_changes(),
            none="stabiliser 'orthogonality' looks at changes of linear layers, and this recipe makes none",
            remedy="use it with lora or with a method that trains whole tensors",
        )
        for name, (weight, _) in self._changes().items():
            if is_packed(weight):
                raise HoldfastError(
                    f"stabiliser 'orthogonality' reads the weight of '{name}', which is kept packed",
                    remedy="drop load.bits",
                )

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        self.away: dict[str, Tensor] = {}
        for name, (weight, _) in self._changes().items() if self.options.form == "directions" else ():
            right = torch.linalg.svd(weight.detach().float(), full_matrices=False)[2]
            self.away[name] = right[: self.options.directions]

    def _changes(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {name: pair for method in self.held or () for name, pair in method.weight_changes().items()}

    def penalty(self, step: int) -> Tensor | None:
        terms = []
        for name, (weight, change) in self._changes().items():
            rows = self.away[name] if name in self.away else weight.detach().float()
            terms.append((rows @ change.float().T).abs().mean())
        return added(terms) * (float(self.options.strength) / len(terms))

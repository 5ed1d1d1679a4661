"""EVA (arXiv 2410.07170): LoRA that looks along the directions in which a layer's inputs vary most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Context
from holdfast.methods.inputs import Inputs
from holdfast.methods.low_rank import Change, Factors, LowRank, LowRankCard, LowRankOptions, fill
from holdfast.models.anatomy import Component
from holdfast.values import JSON


class VarianceOptions(LowRankOptions):
    """Rank on average, how far layers may differ, and how much is looked at."""

    source = "arXiv 2410.07170, PEFT's EvaConfig"
    r: int = Field(default=16, gt=0, description="rank, on average over layers")
    alpha: float | None = Field(default=None, gt=0, description="scale, over r; default: r")
    rho: float = Field(default=2.0, ge=1, description="largest rank of a layer, over r; 1: every layer has r")
    samples: int = Field(default=256, gt=0, description="examples looked at")
    answers: bool = Field(default=True, description="look at the tokens of answers only, where the llm is tuned")


class Eva(LowRank):
    """``W0 + s B A``: ``A`` starts as the largest principal components of the tokens that reach the layer in training
    examples, ``B`` at zero; ranks go to the layers whose components explain the largest share of their variance, up to
    ``rho r`` each and ``r`` on average. A layer may be left without any.

    Needs one forward pass a sample and an ``[in, in]`` matrix a layer before step 1. Components are exact, where the
    release finds them batch by batch.
    """

    card = LowRankCard(
        name="eva",
        family="calibration",
        summary="LoRA along the inputs' principal components, with ranks by explained variance",
        paper="arXiv 2410.07170",
        year=2024,
        official_code="ml-jku/EVA",
        checked_against="NumPy: principal components, ranks by sorting, then LoRA under AdamW",
        default_lr=3e-4,
    )
    Settings = VarianceOptions

    def attach(self, component: Component, context: Context) -> None:
        self.ranks: dict[str, int] = {}
        super().attach(component, context)

    def sketch(self, component: Component, generator: torch.Generator) -> None:
        if self.options.rho > 1:
            raise HoldfastError(
                "method 'eva' gives ranks to layers by what reaches them, so it cannot be planned from shapes",
                remedy="the ledger of holdfast tune counts it before step 1; rho: 1 gives every layer the same rank",
                kind="unplanned",
            )
        self.ranks = {}
        super().sketch(component, generator)

    def build(self, name: str, layer: nn.Linear) -> Change:
        rank = self.ranks.get(name, self.options.r)
        made = Factors(layer, self.options, self.scale, rank)
        return made.requires_grad_(rank > 0)

    def begin(self, context: Context) -> None:
        seen = Inputs(self.layers)
        options = self.options
        seen.look(context, "method 'eva'", samples=options.samples, of="train", answers=options.answers)
        self.components: dict[str, Tensor] = {}
        shares: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            most = min(round(options.r * options.rho), layer.in_features, layer.out_features)
            values, vectors = torch.linalg.eigh(seen.centred(name))
            self.components[name] = vectors.flip(1)[:, :most].T
            shares[name] = values.flip(0)[:most].clamp(min=0) / values.clamp(min=0).sum().clamp(min=1e-12)
        self.ranks = spread(shares, options.r * len(shares))
        for name, beside in self.sites.items():
            beside.change = self.build(name, self.layers[name]).train(beside.training)

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        fill(change.A, self.components.pop(name)[: self.ranks[name]])
        change.B.zero_()

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.ranks = {key.removesuffix(":A"): len(t) for key, t in artifact.tensors.items() if key.endswith(":A")}
        super().restore(component, artifact)

    def notes(self) -> JSON:
        return {"ranks": dict(self.ranks)}


def spread(shares: Mapping[str, Tensor], count: int) -> dict[str, int]:
    """How many components each layer gets, of the ``count`` that explain most.

    Args:
        shares: A layer's components' shares of its variance, falling.
        count: All in all.
    """
    ranked = sorted(((-float(share), name) for name, of in shares.items() for share in of), key=lambda item: item[0])
    ranks = dict.fromkeys(shares, 0)
    for _, name in ranked[:count]:
        ranks[name] += 1
    return ranks

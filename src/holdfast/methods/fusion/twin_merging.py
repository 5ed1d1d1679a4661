"""Twin-Merging: what the experts share, and thinned vectors of what each knows alone."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Options
from holdfast.methods.experts import combined
from holdfast.methods.fusion.base import Fusion, FusionCard, Piece, Tensors
from holdfast.methods.fusion.triplets import triplets
from holdfast.methods.selective.scores import top


class Knowledge(Options):
    """What is shared, how the rest is thinned, and how much of each expert's rest is added."""

    source = "LZY-the-boys/Twin-Merging"
    scaling: float = Field(default=0.29, ge=0, description="of the summed changes in what is shared")
    drop: float = Field(default=0.9, ge=0, lt=1, description="share of an exclusive vector that is left out")
    thin: Literal["svd", "magnitude", "bernoulli"] = Field(
        default="svd", description="singular triplets, sizes or draws decide; vectors of one dimension stay whole"
    )
    weights: tuple[float, ...] | None = Field(
        default=None, description="of the experts' exclusive vectors, in place of the router; default: equal ones"
    )


class TwinMerging(Fusion):
    """``w* = w0 + scaling sum_t (w_t - w0)`` and ``w* + sum_t weight_t thin(w_t - w*)``.

    The paper's router (a network over the shared expert's mean last hidden state) gives the weights anew for every
    input, which one merged model cannot follow; ``weights`` take the place of one decision of it, so give the expert of
    the task at hand the weight 1. With several experts and ``svd`` a recipe keeps what is shared and each one's
    factors, so that any of them can be loaded, asked and exported. SVD keeps ``floor((1 - drop) rank)`` triplets, at
    least one; draws are rescaled by ``1 / (1 - drop)``.
    """

    card = FusionCard(
        name="twin_merging",
        family="shared change",
        summary="the experts' shared change and thinned exclusive ones at given weights",
        paper="arXiv 2406.15479",
        year=2024,
        official_code="LZY-the-boys/Twin-Merging",
        checked_against="NumPy formula",
    )
    experts = None
    unit = "matrix"
    Settings = Knowledge

    def check(self, count: int) -> None:
        self.weights = list(self.options.weights or (1 / count,) * count)
        if len(self.weights) != count:
            raise HoldfastError(
                f"fusion 'twin_merging' has {len(self.weights)} weights for {count} tuned models",
                remedy="give one for each, in their order",
            )

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        if self.shares:
            return combined(piece.base, self.share(piece), self.weights, self.scales)
        result = piece.base + self._shared(piece)
        own = [self._thin(tuned - result, piece, generator) for tuned in piece.tuned]
        for weight, vector in zip(self.weights, own, strict=True):
            result = result + weight * vector
        return result

    @property
    def shares(self) -> bool:
        return bool(self.options.thin == "svd" and self.options.drop > 0)

    def share(self, piece: Piece) -> Tensors:
        shared = self._shared(piece)
        own = [tuned - (piece.base + shared) for tuned in piece.tuned]
        if len(piece.shape) < 2:
            return {"shared": shared, "own": torch.stack(own)}
        factors = [triplets(vector.view(piece.shape[0], -1), 1 - float(self.options.drop)) for vector in own]
        left, right = (torch.stack(several) for several in zip(*factors, strict=True))
        return {"shared": shared, "left": left, "right": right}

    def _shared(self, piece: Piece) -> Tensor:
        """The change that all have."""
        return float(self.options.scaling) * torch.stack(piece.changes).sum(dim=0)

    def _thin(self, vector: Tensor, piece: Piece, generator: torch.Generator) -> Tensor:
        """Without decomposing."""
        density = 1 - float(self.options.drop)
        if len(piece.shape) < 2 or density >= 1 or not bool(vector.any()):
            return vector
        if self.options.thin == "bernoulli":
            return vector * (torch.rand(vector.shape, generator=generator) < density) / density
        kept = top(vector.abs(), max(1, int(density * len(vector)))).long()
        return torch.zeros_like(vector).index_copy_(0, kept, vector[kept])

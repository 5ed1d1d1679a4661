"""Static masks that rank the entries of each tensor for themselves: random, by size, by gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.contract import Batch, Card, Context, Options
from holdfast.methods.selective.dense import Scope
from holdfast.methods.selective.scores import scored, share, top
from holdfast.methods.selective.sparse import Ratio, Sparse, SparseScope
from holdfast.models.anatomy import Component


class RandomMask(Sparse):
    """The control of every mask: entries drawn without looking at them."""

    over_shards = True
    card = Card(
        name="random_mask",
        paradigm="selective",
        family="mask",
        summary="a random share of every matrix",
        paper="arXiv 2503.04543",
        year=2025,
        checked_against="masked dense gradients, bit for bit",
    )

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        return {
            name: top(torch.rand(p.numel(), generator=context.generator), share(self.ratio, p.numel()))
            for name, p in self.matrices(component).items()
        }


class MagnitudeScope(SparseScope):
    """Half of the entries, as in SPIDER's and NRCA's baselines."""

    ratio: Ratio = Field(default=0.5, description="share of the entries that train, the smallest ones; or 'auto'")


class MagnitudeMask(Sparse):
    """Trains the ``ratio`` of smallest ``|w|`` per tensor. The release resets weights after each step, which
    pollutes Adam's moments; here the rest never moves.
    """

    over_shards = True
    card = Card(
        name="magnitude_mask",
        paradigm="selective",
        family="mask",
        summary="the smallest weights train, the large ones keep what they know",
        paper="arXiv 2411.10928 (baseline)",
        year=2024,
        official_code="WenkeHuang/SPIDER",
        checked_against="masked dense gradients, bit for bit",
    )

    Settings = MagnitudeScope

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        return {
            name: top(-p.detach().abs(), share(self.ratio, p.numel())).cpu()
            for name, p in self.matrices(component).items()
        }


class GradientScope(SparseScope):
    """How many batches are looked at before the choice."""

    batches: int = Field(default=16, gt=0, description="training batches that are looked at")
    batch_size: int = Field(
        default=8, gt=0, description="examples in each of them, however large those of training are"
    )


class GradientMask(Sparse):
    """Per tensor the ``round(ratio * n)`` entries of largest ``|sum over batches of g|`` at the base."""

    over_shards = True
    card = Card(
        name="gradient_mask",
        paradigm="selective",
        family="mask",
        summary="the largest mean gradient of every matrix",
        paper="arXiv 2503.04543",
        year=2025,
        checked_against="masked dense gradients, bit for bit; dense gradient sums",
    )

    Settings: ClassVar[type[Options]] = GradientScope

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        sums = self.sums(component, context, self.ratio)
        return {name: top(total.abs_(), self._count(total.numel())).cpu() for name, total in sums}

    def sums(self, component: Component, context: Context, ratio: float) -> Iterator[tuple[str, Tensor]]:
        """Each matrix's name and the sum of its gradients over the batches, where about such a share will train."""
        return scored(
            component.model,
            self.matrices(component),
            context,
            lambda: context.look(f"method '{self.card.name}'", self.options.batches, size=self.options.batch_size),
            lambda gradient: gradient,
            ratio=ratio,
            loss=self.loss(component.model),
        )

    def loss(self, model: nn.Module) -> Callable[[Batch], Tensor] | None:
        """Whose gradient ranks; nothing for the answers' loss."""
        return None

    def _count(self, size: int) -> int:
        return share(self.ratio, size)


class FirstBatch(SparseScope):
    """SIFT looks at one batch."""

    batches: int = Field(default=1, gt=0, description="training batches that are looked at")
    batch_size: int = Field(default=16, gt=0, description="examples in each of them")


class Sift(GradientMask):
    """``floor(ratio * n) + 1`` entries of largest ``|g|`` of the first backward pass, per tensor."""

    card = Card(
        name="sift",
        paradigm="selective",
        family="mask",
        summary="the largest gradient of the first batch",
        paper="arXiv 2312.11875",
        year=2024,
        official_code="song-wx/SIFT",
        checked_against="masked dense gradients, bit for bit; dense gradients",
    )

    Settings = FirstBatch

    def count(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        return {name: self._count(math.prod(shape)) for name, shape in shapes.items()}

    def _count(self, size: int) -> int:
        return min(size, int(self.ratio * size) + 1)


class RowScope(Scope):
    """How many inputs each neuron may change."""

    per_row: int = Field(default=1, gt=0, description="entries that train in every row of a matrix")
    batches: int = Field(default=16, gt=0, description="training batches that are looked at")
    batch_size: int = Field(default=8, gt=0, description="examples in each of them")


class Gps(GradientMask):
    """Per row of a weight matrix the ``per_row`` entries of largest ``|sum of g|``, so that every neuron takes part.

    The paper scores with a contrastive loss against its new classifier head and trains that head and the biases too;
    a multimodal LLM has no new head, so the answer loss scores and only the connections train.
    """

    card = Card(
        name="gps",
        paradigm="selective",
        family="mask",
        summary="the inputs of largest gradient of every neuron",
        paper="arXiv 2312.10136",
        year=2024,
        official_code="FightingFighting/GPS",
        checked_against="masked dense gradients, bit for bit; dense gradients",
    )

    Settings = RowScope

    def count(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        return {name: shape[0] * min(self.options.per_row, shape[1]) for name, shape in shapes.items()}

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        matrices, count = self.matrices(component), self.options.per_row
        rows = sum(len(p) for p in matrices.values())
        ratio = min(1.0, count * rows / max(1, sum(p.numel() for p in matrices.values())))
        chosen = {}
        for name, total in self.sums(component, context, ratio):
            width = total.shape[1]
            inside = total.abs_().topk(min(count, width), dim=1).indices
            offsets = torch.arange(len(total), device=total.device)[:, None] * width
            chosen[name] = (inside + offsets).reshape(-1).sort().values.cpu()
        return chosen

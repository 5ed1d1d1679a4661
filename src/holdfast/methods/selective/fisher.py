"""Masks by Fisher information: FISH, Child-Tuning D, and FISH-DIP, which selects anew while it trains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Batch, Card, Context
from holdfast.methods.selective.masks import GradientScope
from holdfast.methods.selective.scores import scored, share, spread, top_overall
from holdfast.methods.selective.sparse import Ratio, Sparse, SparseScope
from holdfast.models.anatomy import Component


class _Fisher(Sparse):
    """Ranks all entries together by a sum of squared gradients."""

    def count(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        return spread(self.ratio, {name: math.prod(shape) for name, shape in shapes.items()})

    def ranked(
        self, component: Component, context: Context, batches: Iterable[Batch] | None = None
    ) -> dict[str, Tensor]:
        """Indices of the highest sums; ``batches`` are kept for all passes, or taken from :meth:`passes`."""
        matrices = self.matrices(component)
        count = share(self.ratio, sum(parameter.numel() for parameter in matrices.values()))
        kept = None if batches is None else list(batches)
        sums = scored(
            component.model,
            matrices,
            context,
            (lambda: self.passes(context)) if kept is None else (lambda: kept),
            self.statistic,
            ratio=self.ratio,
        )
        return top_overall(sums, count)

    def passes(self, context: Context) -> Iterable[Batch]:
        """What is looked at."""
        raise NotImplementedError

    def statistic(self, gradient: Tensor) -> Tensor:
        """What is summed."""
        return gradient.square()

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        return self.ranked(component, context)


class FishScope(SparseScope):
    """FISH's half percent over a thousand samples."""

    ratio: Ratio = Field(default=0.005, description="share of the entries that train, or 'auto'")
    samples: int = Field(default=1024, gt=0, description="training examples that are looked at, one by one")


class FishMask(_Fisher):
    """``F = sum over examples of g^2``, one example a backward pass; the highest over all tensors train.

    The labels are those of the data (the release's "label" mode). Costs ``samples`` backward passes for each group
    of tensors, of which there are about ``1 / (3 * ratio)`` where the model is large.
    """

    card = Card(
        name="fish_mask",
        paradigm="selective",
        family="mask",
        summary="the largest Fisher information over all matrices together",
        paper="arXiv 2111.09839",
        year=2021,
        official_code="varunnair18/FISH",
        checked_against="masked dense gradients, bit for bit; per-example dense gradients",
    )

    Settings = FishScope

    def passes(self, context: Context) -> Iterable[Batch]:
        return context.look("method 'fish_mask'", self.options.samples, size=1)


class ChildScope(GradientScope):
    """Child-Tuning's share of the network, the child."""

    ratio: Ratio = Field(default=0.3, description="share of the entries that train, or 'auto'")
    clip: float = Field(default=1.0, gt=0, description="largest norm of one tensor's gradient when it is scored")


class ChildTuningD(_Fisher):
    """``F = mean over batches of clip(g)^2``, a threshold over all matrices, fixed; no rescaling (release).

    The release averages over the whole training set; here ``batches`` says over how much. Its weight decay also
    shrinks the frozen entries, which is mended. Only matrices take part: norms and biases stay as they are.
    """

    card = Card(
        name="child_tuning_d",
        paradigm="selective",
        family="mask",
        summary="the task-driven child network by Fisher information",
        paper="arXiv 2109.05687",
        year=2021,
        official_code="alibaba/AliceMind (ChildTuning)",
        default_lr=2e-5,
        checked_against="masked dense gradients, bit for bit; clipped dense gradients",
    )

    Settings = ChildScope

    def passes(self, context: Context) -> Iterable[Batch]:
        return context.look("method 'child_tuning_d'", self.options.batches, size=self.options.batch_size)

    def statistic(self, gradient: Tensor) -> Tensor:
        # As torch.nn.utils.clip_grad_norm_ does it, one tensor at a time.
        scale = (float(self.options.clip) / (gradient.norm() + 1e-6)).clamp(max=1.0)
        clipped: Tensor = gradient * scale
        return clipped.square()


class DipScope(SparseScope):
    """How often, and from how much, the mask is made anew."""

    ratio: Ratio = Field(default=0.01, description="share of the entries that train, or 'auto'")
    every: int = Field(default=100, gt=0, description="optimizer steps between selections")
    pool: int = Field(default=128, gt=0, description="training examples whose loss is looked at")
    samples: int = Field(default=25, gt=0, description="of these, so many of highest loss are scored")


class FishDip(_Fisher):
    """Every ``every`` steps: losses of ``pool`` examples, the ``samples`` highest of them one by one, ``sum g^2``,
    the highest over all tensors train until the next selection.

    Entries that stay keep their Adam moments; those that come begin with none; those that go keep their value (in the
    release they drift on with what momentum they had). The release scans its whole training set each time; here the
    pool is the same each time.
    """

    card = Card(
        name="fish_dip",
        paradigm="selective",
        family="iterative",
        summary="Fisher masks made anew from the examples of highest loss",
        paper="arXiv 2311.03748",
        year=2023,
        official_code="psunlpgroup/FISH-DIP",
        checked_against="NumPy reference of the loop with re-selection",
    )

    Settings = DipScope
    reselects = True

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        self.context = context
        return self.ranked(component, context, self._hardest(context))

    def _hardest(self, context: Context) -> list[Batch]:
        model = self.component.model
        training = model.training
        model.eval()
        with torch.no_grad():
            losses = torch.tensor([float(context.measure(batch)) for batch in self._pool(context)])
        model.train(training)
        wanted = set(losses.topk(min(self.options.samples, len(losses))).indices.tolist())
        return [batch for place, batch in enumerate(self._pool(context)) if place in wanted]

    def _pool(self, context: Context) -> Iterable[Batch]:
        return context.look("method 'fish_dip'", self.options.pool, size=1)

    def after_step(self, step: int) -> None:
        super().after_step(step)
        if (step + 1) % self.options.every == 0:
            with self.ungathered():
                chosen = self.choose(self.component, self.context)
            self.reselect(chosen)

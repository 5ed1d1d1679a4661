"""EWC (PNAS 2017, arXiv 1612.00796): weights that mattered for the sources are held harder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Method, Options
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, added, trained_weights


class Elastic(Options):
    """How hard, and from how many source examples."""

    strength: float = Field(default=1000.0, ge=0, description="lambda; with normalize, 1 to 100 is usual")
    samples: int = Field(default=128, gt=0, description="source training examples that are looked at, one by one")
    normalize: bool = Field(default=False, description="divide the Fisher information by its mean")


class Ewc(Stabiliser):
    """``strength / 2 * sum F (w - w0)^2`` with ``F`` the mean over source examples of the squared gradient of the
    answer's log-likelihood at the base, the answer being that of the data.

    Costs one backward pass a source example before step 1, and one float32 value per trained weight; for sparse
    methods that is per selected entry.
    """

    card = StabiliserCard(
        name="ewc",
        family="distance",
        summary="squared distance, weighed by the sources' Fisher information",
        paper="arXiv 1612.00796",
        year=2017,
    )
    Settings = Elastic
    needs_sources = True

    def check(self, methods: Mapping[str, Method]) -> None:
        self.held = trained_weights(self.card.name, methods)
        for method in self.held:
            if method.reselects:
                raise HoldfastError(
                    f"stabiliser 'ewc' weighs a fixed set of weights, and method '{method.card.name}' selects anew",
                    remedy="use l2_sp, or a method with a fixed selection",
                )

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        trained = [parameter for method in self.held or () for parameter, _ in method.anchors()]
        self.fisher = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in trained]
        seen = 0
        for batch in context.look("stabiliser 'ewc'", self.options.samples, of="sources", size=1):
            tokens = batch.answer_tokens
            (context.measure(batch) * tokens).backward()
            seen += 1
            for parameter, total in zip(trained, self.fisher, strict=True):
                if parameter.grad is not None:
                    total += parameter.grad.float().square()
            for method in methods.values():
                for parameter in method.named_trainable().values():
                    parameter.grad = None
        scale = 1 / seen
        if self.options.normalize:
            count = sum(total.numel() for total in self.fisher)
            mean = sum(float(total.sum()) for total in self.fisher) / seen / count
            scale = scale / mean if mean > 0 else scale
        for total in self.fisher:
            total.mul_(scale)

    def penalty(self, step: int) -> Tensor | None:
        pairs = [pair for method in self.held or () for pair in method.anchors()]
        weighted = zip(self.fisher, pairs, strict=True)
        terms = [(weight * (now - base).square()).sum() for weight, (now, base) in weighted]
        return added(terms) * float(self.options.strength / 2)

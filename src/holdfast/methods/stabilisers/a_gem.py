"""A-GEM (arXiv 1812.00420): a step may not raise the loss on the sources, to first order."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import nn

from holdfast.methods.contract import Context, Method, Options
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard


class MemoryOptions(Options):
    """How many source batches are remembered; step ``t`` looks at batch ``t mod batches``."""

    batches: int = Field(default=8, gt=0)


class AGem(Stabiliser):
    """``g <- g - (g . r) / (r . r) r`` where ``g . r < 0``, with ``r`` the gradient of a source batch.

    Over all trained values together, so it works with every method. Costs a forward and backward pass a step; Adam's
    rescaling comes after it, so the promise holds for the gradient and not for Adam's step.
    """

    card = StabiliserCard(
        name="a_gem",
        family="gradient",
        summary="a step may not raise the loss on the sources, to first order",
        paper="arXiv 1812.00420",
        year=2019,
    )
    Settings = MemoryOptions
    needs_sources = True

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        self.context = context
        self.memory = list(context.look("stabiliser 'a_gem'", self.options.batches, of="sources"))

    def before_step(self, step: int, trainable: Mapping[str, nn.Parameter]) -> None:
        parameters = list(trainable.values())
        gradients = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None
        with torch.enable_grad():
            self.context.measure(self.memory[step % len(self.memory)]).backward()
        references = [parameter.grad for parameter in parameters]
        pairs = [(g, r) for g, r in zip(gradients, references, strict=True) if g is not None and r is not None]
        along = sum(float((g * r).sum()) for g, r in pairs)
        length = sum(float(r.square().sum()) for r in references if r is not None)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        if along < 0 < length:
            for gradient, reference in pairs:
                gradient.sub_(reference, alpha=along / length)

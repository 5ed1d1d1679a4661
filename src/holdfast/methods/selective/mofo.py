"""MoFO (arXiv 2407.20999): of each tensor only the entries of largest momentum move."""

from __future__ import annotations

import torch
from pydantic import Field

from holdfast.methods.contract import Card
from holdfast.methods.selective.dense import Dense, Scope
from holdfast.methods.selective.scores import share, top


class MomentumScope(Scope):
    """The share that moves at one step."""

    ratio: float = Field(default=0.1, gt=0, le=1, description="share of each tensor that moves at one step")


class Mofo(Dense):
    """``w <- w - lr * (m / (sqrt(v) + eps)) * [|m| among the top share of its tensor]``; the moments see all gradients.

    Weight decay moves the same entries only. Costs a copy of the trained weights while the optimizer steps.
    """

    card = Card(
        name="mofo",
        paradigm="selective",
        family="iterative",
        summary="at every step the entries of largest momentum move",
        paper="arXiv 2407.20999",
        year=2024,
        default_lr=2e-5,
        checked_against="NumPy AdamW with filtered updates",
    )
    Settings = MomentumScope

    def before_step(self, step: int) -> None:
        self._before = {name: parameter.detach().clone() for name, parameter in self.chosen.items()}

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        for name, parameter in self.chosen.items():
            momentum, before = self.momentum(parameter), self._before.pop(name)
            if momentum is None:
                continue
            moving = top(momentum.abs(), share(self.options.ratio, momentum.numel())).long()
            after = parameter.view(-1)[moving]
            parameter.copy_(before)
            parameter.view(-1)[moving] = after

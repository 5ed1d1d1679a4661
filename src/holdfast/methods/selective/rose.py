"""ROSE (arXiv 2210.09658): at every step the tensors train whose gradient is like those before."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.contract import Card, Context
from holdfast.methods.selective.dense import Dense, Scope, in_scope
from holdfast.models.anatomy import Component


class Quantiles(Scope):
    """Between which quantiles of its saliency a tensor trains."""

    source = "jiangllan/ROSE (QNLI)"
    lower: float = Field(default=0.0, ge=0, le=1, description="quantile of the saliency from which a tensor trains")
    upper: float = Field(default=0.4, ge=0, le=1, description="quantile up to which it does; 0.3 to 0.9 by task")


class Rose(Dense):
    """From the second step on, a matrix of a repeated block trains if its saliency ``| 0.1 |g| / |m| - 1 |`` lies
    between two quantiles of all matrices', ``m`` being Adam's first moment; otherwise its gradient is ``m``, and its
    step and decay are left out. Everything else trains at every step.

    This is the second-order form, whole tensors as in the release; the first-order one takes the divergence of two
    passes with dropout, which llama-type models do not have.
    """

    card = Card(
        name="rose",
        paradigm="selective",
        family="iterative",
        summary="at every step the tensors whose gradient is like those before",
        paper="arXiv 2210.09658",
        year=2022,
        official_code="jiangllan/ROSE",
        default_lr=2e-5,
        checked_against="NumPy AdamW of the release's loop",
    )

    Settings = Quantiles
    _optimizer: torch.optim.Optimizer | None = None

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        blocks = tuple(name + "." for name, _ in component.layers())
        chosen = in_scope(component, self.options)
        self.judged = [name for name, p in chosen.items() if p.ndim > 1 and (not blocks or name.startswith(blocks))]
        return chosen

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        assert self._optimizer is not None, "the loop binds the optimizer before the first step"
        self._left: dict[str, Tensor] = {}
        states = {name: self._optimizer.state.get(self.chosen[name], {}) for name in self.judged}
        judged = [n for n in self.judged if self.chosen[n].grad is not None and "exp_avg" in states[n]]
        if not judged:
            return
        pairs = ((self.chosen[name].grad, states[name]["exp_avg"]) for name in judged)
        saliency = torch.stack([(0.1 * g.norm() / m.norm() - 1).abs().cpu() for g, m in pairs if g is not None])
        low, high = torch.quantile(saliency, torch.tensor([self.options.lower, self.options.upper]))
        for name, value in zip(judged, saliency, strict=True):
            if not low <= value <= high:
                self._left[name] = self.chosen[name].detach().clone()
                self.chosen[name].grad = states[name]["exp_avg"].clone()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        for name, before in self._left.items():
            self.chosen[name].copy_(before)
        self._left = {}

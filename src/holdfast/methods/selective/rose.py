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

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        blocks = tuple(name + "." for name, _ in component.layers())
        chosen = in_scope(component, self.options)
        self.judged = [name for name, p in chosen.items() if p.ndim > 1 and (not blocks or name.startswith(blocks))]
        return chosen

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        self._left: dict[str, Tensor] = {}
        pairs = [(name, self.chosen[name].grad, self.momentum(self.chosen[name])) for name in self.judged]
        judged = [(name, g, m) for name, g, m in pairs if g is not None and m is not None]
        if not judged:
            return
        saliency = torch.stack([(0.1 * g.norm() / m.norm() - 1).abs().cpu() for _, g, m in judged])
        low, high = torch.quantile(saliency, torch.tensor([self.options.lower, self.options.upper]))
        for (name, _, m), value in zip(judged, saliency, strict=True):
            if not low <= value <= high:
                self._left[name] = self.chosen[name].detach().clone()
                self.chosen[name].grad = m.clone()

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        for name, before in self._left.items():
            self.chosen[name].copy_(before)
        self._left = {}

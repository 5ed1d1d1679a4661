"""PST (arXiv 2205.11005): prune by learned low-rank scores while low-rank changes train."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from holdfast.methods.contract import Card, Context
from holdfast.methods.low_rank import Change, LowRank, empty, normal
from holdfast.methods.selective.dense import Scope
from holdfast.methods.selective.pruning import in_order, progress

DEVIATION = 0.02
"""Of the normal start of ``U`` and ``A``: ours, BERT's own."""


class PrunedScope(Scope):
    """What is pruned, how much, when, and by which scores."""

    source = "alibaba/AliceMind (S4/PST)"
    r: int = Field(default=8, gt=0, description="rank of the change and of the scores")
    sparsity: float = Field(default=0.9, ge=0, lt=1, description="share of every matrix that is pruned at the end")
    prune: Literal["weights", "change"] = Field(
        default="weights", description="weights: base and change (the paper); change: the change alone, the base stays"
    )
    begin: float = Field(default=0.1, ge=0, lt=1, description="share of the steps before pruning begins")
    end: float = Field(default=0.7, gt=0, le=1, description="share of the steps after which it is done")
    beta: float = Field(default=1.0, gt=0, description="scale of the change")
    alpha1: float = Field(default=1.0, ge=0, description="weight of the scores' low-rank part")
    alpha2: float = Field(default=1.0, ge=0, description="weight of the scores' row and column part")

    @model_validator(mode="after")
    def _in_order(self) -> PrunedScope:
        return in_order(self)


class Pruned(Change):
    """``M * (W0 + beta U V) - W0``, or ``M * beta U V``, with ``M`` the highest scores of the matrix."""

    sparsity: Tensor

    def __init__(self, layer: nn.Linear, options: Any) -> None:
        super().__init__()
        tall, wide, r = layer.out_features, layer.in_features, options.r
        self.U, self.V = nn.Parameter(empty(layer, tall, r)), nn.Parameter(empty(layer, r, wide))
        self.A, self.B = nn.Parameter(empty(layer, tall, r)), nn.Parameter(empty(layer, r, wide))
        self.R, self.C = nn.Parameter(empty(layer, tall, 1)), nn.Parameter(empty(layer, 1, wide))
        self.register_buffer("sparsity", empty(layer, 1))
        self.options = options
        self.base = [layer.weight]  # in a list: the base's weight is no parameter of this module

    def weight(self) -> Tensor:
        base = self.base[0].detach().float()
        change = self.options.beta * (self.U @ self.V)
        scores = (
            (base + change).abs() + self.options.alpha1 * (self.A @ self.B) + self.options.alpha2 * (self.R + self.C)
        )
        kept = scores.numel() - round(float(self.sparsity) * scores.numel())
        hard = torch.zeros_like(scores).view(-1)
        hard[scores.detach().view(-1).topk(max(1, kept)).indices] = 1
        # Straight through: the scores get the mask's gradient, and the mask's values stay exact.
        mask = hard.view_as(scores) + (scores - scores.detach())
        result: Tensor = mask * change if self.options.prune == "change" else mask * (base + change) - base
        return result


class Pst(LowRank):
    """``M * (W0 + beta U V)`` with ``M`` the highest entries of ``|W0 + beta U V| + alpha1 A B + alpha2 (R + C)`` of
    every matrix; the gradient goes straight through ``M`` to the scores. The pruned share rises to ``sparsity`` as
    ``sparsity (1 - (1 - t)^3)``.

    ``U`` and ``A`` start normal, the rest at zero. The paper prunes the base itself, which is compression and forgets;
    ``prune: change`` (ours) lets the scores prune the change alone. Builds one matrix a layer and step.
    """

    over_quantised = ()
    card = Card(
        name="pst",
        paradigm="selective",
        family="iterative",
        summary="low-rank changes and low-rank scores of what is pruned",
        paper="arXiv 2205.11005",
        year=2022,
        official_code="alibaba/AliceMind (S4/PST)",
        extra_inference_cost="none once merged",
        default_lr=3e-5,
        checked_against="a loop over plain matrices with the gradients of mask and scores by hand",
    )
    Settings = PrunedScope

    def build(self, name: str, layer: nn.Linear) -> Change:
        return Pruned(layer, self.options)

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        for tensor in (change.V, change.B, change.R, change.C, change.sparsity):
            tensor.zero_()
        normal(change.U, context.generator, DEVIATION)
        normal(change.A, context.generator, DEVIATION)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        done = progress(step, self.steps, self.options)
        for beside in self.sites.values():
            change: Any = beside.change
            change.sparsity.fill_(self.options.sparsity * (1 - (1 - done) ** 3))

    def state(self) -> dict[str, Tensor]:
        return {name: beside.change.get_buffer("sparsity") for name, beside in self.sites.items()}

    def load(self, trainable: Any, state: Any) -> None:
        super().load(trainable, state)
        for name, beside in self.sites.items():
            beside.change.get_buffer("sparsity").copy_(state[name])

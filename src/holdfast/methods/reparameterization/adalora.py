"""AdaLoRA (arXiv 2303.10512): ranks move to the layers whose triplets matter most while training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions, Scaled, empty, normal


class BudgetOptions(LowRankOptions):
    """Ranks at the start and at the end, and the way between them."""

    source = "QingruZhang/AdaLoRA, PEFT's AdaLoraConfig"
    r: int = Field(default=12, gt=0, description="rank of every layer at the start")
    target: int = Field(default=8, gt=0, description="mean rank at the end; below r")
    alpha: float | None = Field(default=32, gt=0, description="scale, over r")
    warmup: int = Field(default=0, ge=0, description="steps before ranks are taken away")
    final: int = Field(default=0, ge=0, description="steps at the end with the ranks that are left")
    every: int = Field(default=1, gt=0, description="steps from one allocation to the next")
    decay: float = Field(default=0.85, gt=0, lt=1, description="of the running means of importance and its spread")
    orthogonality: float = Field(default=0.5, ge=0, description="strength of the term that keeps P and Q orthogonal")


class Triplets(Scaled):
    """``scale * P diag(E) Q``; ``P [out, r]``, ``E [r]``, ``Q [r, in]``."""

    def __init__(self, layer: nn.Linear, options: Any, scale: float) -> None:
        super().__init__(layer, options, scale)
        r = options.r
        self.P = nn.Parameter(empty(layer, layer.out_features, r))
        self.E = nn.Parameter(empty(layer, r))
        self.Q = nn.Parameter(empty(layer, r, layer.in_features))

    def weight(self) -> Tensor:
        return self.scale * (self.P * self.E) @ self.Q

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(functional.linear(self.dropped(x, self.Q), self.Q) * self.E, self.P) * self.scale


class AdaLora(LowRank):
    """``W0 + s P diag(E) Q``: after every step the triplets of least importance, over all layers, have ``E = 0``, so
    many that a cubic schedule from ``r`` to ``target`` is kept; they may come back until the last allocation.

    Importance is a running mean of ``|w g|`` times a running mean of how it varies, of ``E_i`` and on average over
    row ``i`` of ``Q`` and column ``i`` of ``P``. The loss gains ``orthogonality`` times the mean over all factors of
    ``|P^T P - I|_F`` and ``|Q Q^T - I|_F``.
    """

    card = LowRankCard(
        name="adalora",
        family="calibration",
        summary="ranks go to the layers where they matter",
        paper="arXiv 2303.10512",
        year=2023,
        official_code="QingruZhang/AdaLoRA",
        checked_against="dense loop of the paper's allocation under AdamW",
        default_lr=1e-3,
    )
    Settings = BudgetOptions
    change = Triplets

    def fits(self, layer: nn.Linear) -> str | None:
        options = self.options
        if options.target >= options.r:
            return (
                f"target {options.target} leaves nothing to take away from the rank {options.r}; choose a lower target"
            )
        return super().fits(layer)

    def begin(self, context: Context) -> None:
        self.means: dict[str, Tensor] = {}

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        normal(change.P, context.generator, 0.02)
        normal(change.Q, context.generator, 0.02)
        change.E.zero_()

    def check_steps(self, steps: int) -> None:
        if self.options.warmup + self.options.final >= steps:
            raise HoldfastError(
                f"method 'adalora' has no steps left for taking ranks away: warmup {self.options.warmup} and final "
                f"{self.options.final} fill the {steps} steps",
                remedy="lower them, or train longer",
            )

    def penalty(self, step: int) -> Tensor | None:
        if not self.options.orthogonality:
            return None
        changes: list[Any] = [site.change for site in self.sites.values()]
        sides = [side for change in changes for side in (change.P.T, change.Q)]
        terms = [(side @ side.T - torch.eye(len(side), device=side.device)).norm() for side in sides]
        mean = torch.stack([term.to(terms[0].device) for term in terms]).mean()
        return float(self.options.orthogonality) * mean

    def budget(self, step: int) -> int | None:
        """How many triplets stay after a step, counted from 1; None where it changes nothing.

        ``target + (r - target) (1 - t)^3`` with ``t`` the share of the way between warm-up and the final steps.
        """
        options, count = self.options, len(self.sites)
        if self.steps is None or step <= options.warmup:
            return None
        last = self.steps - options.final
        if step >= last:
            return int(options.target) * count
        if step % options.every:
            return None
        left = 1 - (step - options.warmup) / (last - options.warmup)
        return int((options.r - options.target) * count * left**3 + options.target * count)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        if self.steps is None or step + 1 < self.steps - self.options.final:
            self._weigh()
        budget = self.budget(step + 1)
        if budget is None or not self.means:
            return
        scores = {name: self._importance(name) for name in self.sites}
        every = torch.cat([score.cpu() for score in scores.values()])
        if budget >= len(every):
            return
        limit = float(every.kthvalue(len(every) - budget).values)
        for name, score in scores.items():
            change: Any = self.sites[name].change
            change.E.masked_fill_(score <= limit, 0.0)

    def _weigh(self) -> None:
        keep = self.options.decay
        for name, tensor in self.named_trainable().items():
            now = torch.zeros_like(tensor) if tensor.grad is None else (tensor * tensor.grad).abs()
            mean = self.means.get(f"mean/{name}", torch.zeros_like(now)) * keep + now * (1 - keep)
            spread = self.means.get(f"spread/{name}", torch.zeros_like(now)) * keep + (now - mean).abs() * (1 - keep)
            self.means[f"mean/{name}"], self.means[f"spread/{name}"] = mean, spread

    def _importance(self, name: str) -> Tensor:
        """Of each triplet of a layer, ``[r]``."""
        p, e, q = (self.means[f"mean/{name}:{part}"] * self.means[f"spread/{name}:{part}"] for part in "PEQ")
        return e + p.mean(dim=0) + q.mean(dim=1)

    def state(self) -> dict[str, Tensor]:
        return dict(self.means)

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        super().load(trainable, state)
        own = self.named_trainable()
        self.means = {name: tensor.to(own[name.partition("/")[2]].device) for name, tensor in state.items()}

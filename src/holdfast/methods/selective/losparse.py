"""LoSparse (arXiv 2306.11222): a weight as a low-rank part and a part whose rows are pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from holdfast.methods.contract import Card, Context
from holdfast.methods.low_rank import Change, LowRank, empty, fill
from holdfast.methods.selective.dense import Scope
from holdfast.methods.selective.pruning import in_order, progress


class Compression(Scope):
    """How low the rank is, how much of the rest stays, and when it is pruned."""

    source = "yxli2123/LoSparse; begin, end and every: ours, the release counts epochs and steps by task"
    rank: float = Field(default=0.05, gt=0, lt=1, description="size of the factors, as a share of the matrix's")
    keep: float = Field(default=0.15, gt=0, le=1, description="share of all neurons whose sparse part stays at the end")
    begin: float = Field(default=0.1, ge=0, lt=1, description="share of the steps before the first pruning")
    end: float = Field(default=0.7, gt=0, le=1, description="share of the steps after which nothing more is pruned")
    every: int = Field(default=10, gt=0, description="steps whose sensitivities are averaged between two prunings")
    smooth: float = Field(default=0.85, ge=0, lt=1, description="weight of the past in the average of sensitivities")
    by: Literal["rows", "columns"] = Field(default="rows", description="what a neuron is: a row or a column of S")

    @model_validator(mode="after")
    def _in_order(self) -> Compression:
        return in_order(self)


class LowRankAndSparse(Change):
    """``L R + S``: ``L [out, r]``, ``R [r, in]``, ``S [out, in]``, all trained, in float32."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.L = nn.Parameter(empty(layer, layer.out_features, rank))
        self.R = nn.Parameter(empty(layer, rank, layer.in_features))
        self.S = nn.Parameter(empty(layer, layer.out_features, layer.in_features))

    def weight(self) -> Tensor:
        return self.L @ self.R + self.S


class LoSparse(LowRank):
    """``W = L R + S`` with ``L = U sqrt(s)``, ``R = sqrt(s) V^T`` of the first ``ceil(rank H W / (H + W))`` singular
    triplets and ``S`` the rest; all three train. A neuron of ``S`` matters by the mean of ``|s g|`` over its entries,
    averaged over ``every`` steps and then smoothed; of all neurons together the least are zero for good, the share that
    stays falling from one to ``keep`` as ``keep + (1 - keep) (1 - t)^3``.

    This compresses: what is pruned of ``S`` is pruned of the base, and does not come back. The release also weighs by
    uncertainty if asked to, and prunes q, k and v by rows and the rest by columns in one of its modes. Costs a copy of
    every weight for ``S``, and one more for its start.
    """

    over_quantised = ()
    card = Card(
        name="losparse",
        paradigm="selective",
        family="iterative",
        summary="a low-rank part and a part that loses its least neurons",
        paper="arXiv 2306.11222",
        year=2023,
        official_code="yxli2123/LoSparse",
        extra_inference_cost="none once merged",
        default_lr=9e-5,
        checked_against="a loop over plain matrices under AdamW",
    )
    Settings = Compression

    def share(self, layers: Mapping[str, nn.Linear]) -> None:
        self.now: dict[str, Tensor] = {}
        self.smoothed: dict[str, Tensor] = {}
        self.kept: dict[str, Tensor] = {}

    def build(self, name: str, layer: nn.Linear) -> Change:
        tall, wide = layer.weight.shape
        return LowRankAndSparse(layer, math.ceil(self.options.rank * tall * wide / (tall + wide)))

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        weight = layer.weight.float()
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        root = values[: len(change.R)].sqrt()
        fill(change.L, left[:, : len(root)] * root)
        fill(change.R, root[:, None] * right[: len(root)])
        fill(change.S, weight - change.L @ change.R)

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        for name, part in self._sparse():
            if part.grad is not None:
                felt = (part * part.grad).abs().mean(dim=self._across) / self.options.every
                self.now[name] = self.now.get(name, torch.zeros_like(felt)) + felt

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        if (step + 1) % self.options.every == 0 and self.now:
            past = self.options.smooth
            for name, felt in self.now.items():
                self.smoothed[name] = past * self.smoothed.get(name, torch.zeros_like(felt)) + (1 - past) * felt
            self.now = {}
            done = progress(step, self.steps, self.options)
            if done > 0:
                self._prune(done)
        for name, part in self._sparse():
            if name in self.kept:
                part.mul_(self.kept[name].unsqueeze(self._across))

    def _prune(self, done: float) -> None:
        scores = torch.cat([score.cpu() for score in self.smoothed.values()])
        left = self.options.keep + (1 - self.options.keep) * (1 - done) ** 3
        least = scores.topk(max(1, round(left * len(scores)))).values[-1]
        for name, score in self.smoothed.items():
            kept = score >= least.to(score.device)
            self.kept[name] = kept & self.kept[name] if name in self.kept else kept

    @property
    def _across(self) -> int:
        """The dimension that a neuron runs along."""
        return 1 if self.options.by == "rows" else 0

    def _sparse(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, tensor) for name, tensor in self.named_trainable().items() if name.endswith(":S")]

    def state(self) -> dict[str, Tensor]:
        parts = {
            "now": self.now,
            "smoothed": self.smoothed,
            "kept": {n: k.to(torch.uint8) for n, k in self.kept.items()},
        }
        return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        super().load(trainable, state)
        self.share(self.layers)
        own = self.named_trainable()
        for key, tensor in state.items():
            part, _, name = key.partition("/")
            tensor = tensor.to(own[name].device)
            getattr(self, part)[name] = tensor.bool() if part == "kept" else tensor

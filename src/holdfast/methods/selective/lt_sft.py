"""LT-SFT (arXiv 2110.07560): tune everything, see what moved most, rewind, and train that alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Context, none_given
from holdfast.methods.selective.scores import share, spread, top_overall
from holdfast.methods.selective.sparse import Ratio, Sparse, SparseScope
from holdfast.models.anatomy import Component


class LotteryScope(SparseScope):
    """One percent, after a first phase of so many steps."""

    ratio: Ratio = Field(default=0.01, description="share of the entries that train in phase 2, or 'auto'")
    first_steps: int = Field(
        default=100, gt=0, description="optimizer steps of phase 1; at most 1,000, or ten times the run's"
    )


class LotteryTicket(Sparse):
    """Phase 1, when it attaches: AdamW on all matrices for ``first_steps`` batches at the component's peak rate,
    constant and without decay. ``K = ratio * n`` entries of largest ``|w - w0|`` over all tensors; ``w <- w0``.
    Phase 2, the run itself: these entries alone.

    Phase 1 needs the memory of full tuning. Norms stay frozen, the L1 term is off, as in the release's defaults.
    """

    card = Card(
        name="lt_sft",
        paradigm="selective",
        family="mask",
        summary="what moved most in a first full tuning trains alone in a second",
        paper="arXiv 2110.07560",
        year=2022,
        official_code="cambridgeltl/composable-sft",
        checked_against="plain AdamW for phase 1; masked dense gradients, bit for bit, for phase 2",
    )
    Settings = LotteryScope

    def check_steps(self, steps: int) -> None:
        first, most = self.options.first_steps, max(1000, 10 * steps)
        if first > most:
            raise HoldfastError(
                f"method 'lt_sft' would train everything for {first:,} steps before the {steps:,} of the run begin",
                remedy=f"set first_steps to {most:,} or less",
            )

    def count(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        return spread(self.ratio, {name: math.prod(shape) for name, shape in shapes.items()})

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        if context.batches is None:
            raise none_given("method 'lt_sft'", "train")
        matrices = self.matrices(component)
        base = {name: parameter.detach().clone() for name, parameter in matrices.items()}
        half = {name: p.dtype for name, p in matrices.items() if p.dtype in (torch.float16, torch.bfloat16)}
        for name, parameter in matrices.items():
            parameter.data = parameter.data.float() if name in half else parameter.data
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(matrices.values(), lr=context.lr, weight_decay=0.0)
        try:
            for batch in context.look("method 'lt_sft'", self.options.first_steps):
                context.measure(batch).backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            total = sum(parameter.numel() for parameter in matrices.values())
            moved = ((name, (p.detach() - base[name].float()).abs_()) for name, p in matrices.items())
            return top_overall(moved, share(self.ratio, total))
        finally:
            for name, parameter in matrices.items():
                parameter.requires_grad_(False)
                parameter.grad = None
                parameter.data = base[name]

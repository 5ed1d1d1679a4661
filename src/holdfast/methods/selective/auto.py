"""``ratio: auto``: the mask ratio is chosen on held-out data, from short trials that leave no trace."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean, stdev
from typing import Any, Protocol, TypedDict

import torch
from torch import Tensor

from holdfast.methods.contract import Card, Context, ParameterGroup
from holdfast.models.anatomy import Component


class Selecting(Protocol):
    """What a trial asks of a method that selects entries; see :class:`holdfast.methods.selective.sparse.Sparse`."""

    card: Card
    options: Any
    component: Component
    ratio: float

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]: ...

    def select(self, chosen: Mapping[str, Tensor]) -> None: ...

    def release(self) -> None: ...

    def parameter_groups(self, lr: float, weight_decay: float) -> list[ParameterGroup]: ...

    def after_step(self, step: int) -> None: ...


class Trial(TypedDict):
    """What was tried: plain values for the ledger and the artifact.

    Attributes:
        chosen: The ratio.
        validation_losses: Mean loss by ratio, written as text.
        trial_steps: Training steps of each candidate.
        validation_batches: Over how many batches the losses are means.
    """

    chosen: float
    validation_losses: dict[str, float]
    trial_steps: int
    validation_batches: int


def pick_ratio(method: Selecting, context: Context) -> tuple[float, Trial]:
    """Try every candidate for a few steps and compare the validation losses batch by batch.

    Each candidate chooses its entries, trains them with AdamW at the component's own rate on the first training
    batches, is measured on the validation batches, and is taken off again; the base is restored bit for bit in
    between. The smallest ratio wins whose loss is within one standard error of the best one's (of the paired
    differences): where the held-out data cannot tell two ratios apart, the one that moves less is kept. The trial
    says nothing about what is forgotten, and ratios that need longer training to pay off are underrated.

    Returns:
        The ratio, and a record of what was tried.

    Raises:
        HoldfastError: There are no training or no validation examples.
    """
    owner = f"method '{method.card.name}' with ratio 'auto'"
    options, random = method.options, context.generator.get_state()
    held_out = list(context.look(owner, options.trial_batches, of="validation"))
    losses: dict[float, list[float]] = {}
    for ratio in sorted(set(options.candidates)):
        # Every candidate, and the final choice, draws from the same randomness.
        context.generator.set_state(random)
        method.ratio = ratio
        method.select(method.choose(method.component, context))
        try:
            _train(method, context, owner)
            with torch.no_grad():
                losses[ratio] = [float(context.measure(batch)) for batch in held_out]
        finally:
            method.release()
    context.generator.set_state(random)
    best = min(losses, key=lambda ratio: fmean(losses[ratio]))
    chosen = next(ratio for ratio in losses if _as_good(losses[ratio], losses[best]))
    record: Trial = {
        "chosen": chosen,
        "validation_losses": {str(ratio): fmean(values) for ratio, values in losses.items()},
        "trial_steps": options.trial_steps,
        "validation_batches": len(held_out),
    }
    return chosen, record


def _train(method: Selecting, context: Context, owner: str) -> None:
    optimizer = torch.optim.AdamW(method.parameter_groups(context.lr, 0.0))
    for batch in context.look(owner, method.options.trial_steps):
        context.measure(batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        method.after_step(0)


def _as_good(losses: list[float], best: list[float]) -> bool:
    worse = [one - other for one, other in zip(losses, best, strict=True)]
    error = stdev(worse) / len(worse) ** 0.5 if len(worse) > 1 else 0.0
    return fmean(worse) <= error

"""Learning weights and connections (arXiv 1506.02626): train, prune the smallest weights, train what is left."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Context
from holdfast.methods.kept import Kept
from holdfast.methods.selective.dense import Dense, Scope, weights_in_scope
from holdfast.models.anatomy import Component


class Pruning(Scope):
    """When, how often and how much is pruned."""

    source = "ours; the paper sets quality and schedule for every layer"
    quality: float = Field(
        default=0.25, gt=0, description="weights below so many standard deviations of their matrix are pruned"
    )
    first_steps: int | None = Field(
        default=None, gt=0, description="optimizer steps before the first pruning; default: half of the run's"
    )
    rounds: int = Field(default=1, gt=0, description="how often is pruned")
    every: int = Field(default=100, gt=0, description="optimizer steps between two prunings")


class PruneRetrain(Kept, Dense):
    """The matrices train; after ``first_steps`` steps, and ``rounds`` times, weights with ``|w| < quality * std(W)`` of
    those that are left become zero for good, and the others train on from the values they have.

    This prunes the base's own weights: it makes a model smaller and does not keep what it knows. ``magnitude_mask`` is
    what became of the idea for that. Compression needs a format that stores no zeros, which is not written here.
    """

    card = Card(
        name="prune_retrain",
        paradigm="selective",
        family="iterative",
        summary="train, set the smallest weights to zero, train what is left",
        paper="arXiv 1506.02626",
        year=2015,
        default_lr=2e-5,
        checked_against="NumPy AdamW with pruned weights",
    )
    Settings = Pruning

    def check_steps(self, steps: int) -> None:
        last = self._first(steps) + (self.options.rounds - 1) * self.options.every
        if last > steps:
            raise HoldfastError(
                f"method 'prune_retrain' would prune for the last time after step {last:,}, and the run has {steps:,}",
                remedy="lower first_steps, every or rounds, or train longer",
            )

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        return weights_in_scope(component, self.options)

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        for name, kept in self.kept.items():
            gradient = self.chosen[name].grad
            if gradient is not None:
                gradient.mul_(kept)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        done, rest = divmod(step + 1 - self._first(self.steps), self.options.every) if self.steps else (-1, 0)
        if 0 <= done < self.options.rounds and not rest:
            self.kept = {name: self._left(name, parameter) for name, parameter in self.chosen.items()}
        for name, kept in self.kept.items():
            self.chosen[name].mul_(kept)

    def _first(self, steps: int) -> int:
        """The step, counted from 1, after which weights are pruned for the first time."""
        return self.options.first_steps or max(1, steps // 2)

    def _left(self, name: str, parameter: Tensor) -> Tensor:
        left = self.kept.get(name, torch.ones_like(parameter, dtype=torch.bool))
        large: Tensor = parameter.abs() >= self.options.quality * parameter[left].std()
        return left & large

"""Flora (arXiv 2402.03293): an optimizer whose momentum lives in random projections that change now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Artifact, Card, Context, ParameterGroup
from holdfast.methods.selective.dense import Dense, Scope
from holdfast.models.anatomy import Component


class ProjectionOptions(Scope):
    """The rank of the momentum, and Adafactor's settings."""

    source = "BorealisAI/flora-opt"
    r: int = Field(default=128, gt=0, description="rank of the projected momentum; smaller matrices keep it in full")
    kappa: int = Field(default=1000, gt=0, description="steps between two projections")
    beta: float = Field(default=0.9, gt=0, lt=1, description="of the momentum")
    decay: float = Field(default=0.8, gt=0, le=1, description="the second moment forgets by 1 - step^-decay")
    clip: float = Field(default=1.0, gt=0, description="largest root mean square of an update")
    relative: bool = Field(default=True, description="rates are relative to the size of a tensor, as Adafactor's")


@dataclass
class Moments:
    """What is kept of one tensor: a second moment, in rows and columns where it is a matrix, and the momentum."""

    square: list[Tensor]
    momentum: Tensor
    seed: int


class Flora(Dense):
    """``w <- w - lr size(w) clip(u)`` with ``u`` the gradient over Adafactor's factored second moment, and its momentum
    kept as ``P u`` with a random ``P [r, short side]``, drawn again from a seed whenever it is needed; every ``kappa``
    steps the momentum moves to another ``P``. Updates have full rank for the memory of low rank.

    The run's optimizer is passed by. Gradients are added up in full over the batches of a step, where the release
    projects them too.
    """

    card = Card(
        name="flora",
        paradigm="reparameterization",
        family="calibration",
        summary="full-rank updates whose momentum is a random projection",
        paper="arXiv 2402.03293",
        year=2024,
        official_code="BorealisAI/flora-opt",
        checked_against="NumPy: factored second moment, projections written out, seven steps",
        default_lr=1e-2,
    )
    Settings = ProjectionOptions

    def attach(self, component: Component, context: Context) -> None:
        super().attach(component, context)
        self.moments: dict[str, Moments] = {}
        self.taken: dict[str, Tensor] = {}
        self.count = 0
        self.first = int(torch.randint(2**31, (1,), generator=context.generator))

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        own = {id(parameter) for parameter in self.chosen.values()}
        self.groups: list[ParameterGroup] = [
            group for group in optimizer.param_groups if any(id(p) in own for p in group["params"])
        ]

    def before_step(self, step: int) -> None:
        # An optimizer leaves alone what has no gradient, and keeps nothing of it.
        for name, parameter in self.chosen.items():
            if parameter.grad is not None:
                self.taken[name], parameter.grad = parameter.grad, None

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        self.count += 1
        names = {id(parameter): name for name, parameter in self.chosen.items()}
        for group in self.groups:
            for parameter in group["params"]:
                gradient = self.taken.pop(names.get(id(parameter), ""), None)
                if gradient is not None:
                    rate = float(group["lr"]) * (max(1e-3, _rms(parameter)) if self.options.relative else 1.0)
                    update = self._update(names[id(parameter)], gradient.float())
                    parameter.sub_(parameter * (float(group["weight_decay"]) * rate)).sub_(rate * update)

    def _update(self, name: str, gradient: Tensor) -> Tensor:
        if name not in self.moments:
            self.moments[name] = self._fresh(gradient, len(self.moments))
        own = self.moments[name]
        keep, options = 1 - self.count**-self.options.decay, self.options
        square = gradient.square() + 1e-30
        if gradient.ndim == 2:
            for moment, side in zip(own.square, (1, 0), strict=True):
                moment.mul_(keep).add_(square.mean(dim=side), alpha=1 - keep)
            rows, columns = own.square
            raw = gradient * (rows / rows.mean()).rsqrt()[:, None] * columns.rsqrt()
        else:
            own.square[0].mul_(keep).add_(square, alpha=1 - keep)
            raw = gradient * own.square[0].rsqrt()
        update = raw * (1 - options.beta) + _up(own, raw) * options.beta
        if own.seed >= 0 and self.count % options.kappa == 0:
            whole, own.seed = _up(own, raw), own.seed + 7919
            own.momentum = _down(own, whole, options.r)
        own.momentum = own.momentum * options.beta + _down(own, raw, options.r) * (1 - options.beta)
        clipped: Tensor = update / max(1.0, _rms(update) / options.clip)
        return clipped

    def _fresh(self, gradient: Tensor, place: int) -> Moments:
        """Nothing seen yet; small matrices and long ones, such as embeddings, are not projected, as in the release."""
        if gradient.ndim != 2:
            return Moments([torch.zeros_like(gradient)], torch.zeros_like(gradient), -1)
        short, long = sorted(gradient.shape)
        square = [gradient.new_zeros(side) for side in gradient.shape]
        if short < self.options.r or long / short > 4:
            return Moments(square, torch.zeros_like(gradient), -1)
        own = Moments(square, gradient, self.first + place)
        own.momentum = torch.zeros_like(_down(own, gradient, self.options.r))
        return own

    def state(self) -> dict[str, Tensor]:
        found = {"count": torch.tensor(self.count)}
        for name, own in self.moments.items():
            found |= {f"{name}/square{i}": part for i, part in enumerate(own.square)}
            found |= {f"{name}/momentum": own.momentum, f"{name}/seed": torch.tensor(own.seed)}
        return found

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        super().load(trainable, state)
        self.count = int(state["count"]) if "count" in state else 0
        for name, parameter in self.chosen.items():
            if f"{name}/momentum" in state:
                squares = [state[f"{name}/square{i}"] for i in range(2) if f"{name}/square{i}" in state]
                moved = [part.to(parameter.device) for part in (*squares, state[f"{name}/momentum"])]
                self.moments[name] = Moments(moved[:-1], moved[-1], int(state[f"{name}/seed"]))

    def detach(self) -> Artifact:
        self.moments, self.taken, self.groups = {}, {}, []
        return super().detach()


def _rms(tensor: Tensor) -> float:
    return float(tensor.norm() / tensor.numel() ** 0.5)


def _projection(seed: int, rank: int, short: int, like: Tensor) -> Tensor:
    """``N(0, 1 / rank)``, drawn on the CPU, ``[rank, short]``."""
    drawn = torch.randn(rank, short, generator=torch.Generator().manual_seed(seed))
    scaled: Tensor = drawn.to(like.device) / rank**0.5
    return scaled


def _down(own: Moments, tensor: Tensor, rank: int) -> Tensor:
    if own.seed < 0:
        return tensor
    if tensor.shape[0] < tensor.shape[1]:
        return _projection(own.seed, rank, tensor.shape[0], tensor) @ tensor
    return tensor @ _projection(own.seed, rank, tensor.shape[1], tensor).T


def _up(own: Moments, like: Tensor) -> Tensor:
    """The momentum in the tensor's own shape."""
    kept = own.momentum
    if own.seed < 0:
        return kept
    if like.shape[0] < like.shape[1]:
        return _projection(own.seed, len(kept), like.shape[0], like).T @ kept
    return kept @ _projection(own.seed, kept.shape[1], like.shape[1], like)

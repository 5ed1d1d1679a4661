"""The engine of projected gradients: which directions a layer's inputs take, and steps that leave them alone.

With ``C`` the mean of ``x x^T`` over tokens that reach a layer, a step ``D`` of its weight with ``D v = 0`` for every
eigenvector ``v`` of large eigenvalue changes the layer's answers to such tokens little: to the tokens seen by no more
than the square root of the eigenvalues that were let go. AdamW rescales entry by entry, so a projected gradient does
not make a projected step; the step itself is projected too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Options, Pool
from holdfast.methods.inputs import Inputs
from holdfast.methods.selective.dense import Dense
from holdfast.models.anatomy import Component
from holdfast.values import JSON


class DirectionOptions(Options):
    """Which directions stay as they are, and from how many examples they are told."""

    threshold: float = Field(
        default=2e-2, ge=0, description="eigenvalue of the inputs' covariance from which a direction is left alone"
    )
    protect: float | None = Field(
        default=None, gt=0, lt=1, description="in place of it the share of directions left alone, those of most energy"
    )
    samples: int = Field(default=128, gt=0, description="source examples that are looked at")


@dataclass(frozen=True)
class FreeSpace:
    """The directions of a layer's inputs that may be used, kept as the smaller of two orthonormal bases.

    Attributes:
        basis: ``[in, k]``, float32: of the free directions, or of those that are left alone.
        spans_free: Which of the two.
        free: How many are free.
    """

    basis: Tensor
    spans_free: bool
    free: int

    @classmethod
    def of(cls, covariance: Tensor, options: Any, device: torch.device) -> FreeSpace:
        """From an uncentred covariance ``[in, in]`` and :class:`DirectionOptions`."""
        values, vectors = torch.linalg.eigh(covariance.double())  # ascending
        if options.protect is None:
            free = int((values.clamp(min=0) < options.threshold).sum())
        else:
            free = len(values) - round(options.protect * len(values))
        small = 2 * free <= len(values)
        basis = vectors[:, :free] if small else vectors[:, free:]
        return cls(basis.float().to(device), small, free)

    def __call__(self, rows: Tensor) -> Tensor:
        """The part of rows ``[..., in]`` within the free directions."""
        basis = self.basis.to(rows.dtype)
        inside = (rows @ basis) @ basis.T
        return inside if self.spans_free else rows - inside


def free_spaces(
    owner: str, layers: Mapping[str, nn.Module], context: Context, options: Any, *, of: Pool = "sources"
) -> dict[str, FreeSpace]:
    """For every layer the directions that general examples do not use.

    Args:
        owner: Who asks, for the message.
        layers: Linear layers by full name.
        context: Gives examples and runs them.
        options: :class:`DirectionOptions`.
        of: Which examples.

    Raises:
        HoldfastError: There are no such examples, or no direction of any layer is free.
    """
    seen = Inputs(layers)  # type: ignore[arg-type]
    seen.look(context, owner, samples=options.samples, of=of)
    devices = {name: next(layer.parameters()).device for name, layer in layers.items()}
    spaces = {name: FreeSpace.of(seen.mean_square(name), options, devices[name]) for name in layers}
    if not any(space.free for space in spaces.values()):
        raise HoldfastError(
            f"{owner} finds no direction that the sources leave free",
            remedy="raise threshold, or set protect to a share of the directions",
        )
    return spaces


def free_share(spaces: Mapping[str, FreeSpace], widths: Mapping[str, int]) -> JSON:
    """For the ledger: the share of directions that are free."""
    return {"free_directions": sum(space.free for space in spaces.values()) / sum(widths[name] for name in spaces)}


class Projected(Dense):
    """Trains weights of linear layers; gradient and change stay within what :func:`free_spaces` leaves free.

    Holds at most half an ``[in, in]`` matrix a layer beside what full tuning holds.
    """

    needs_sources = True
    spaces: dict[str, FreeSpace]

    def attach(self, component: Component, context: Context) -> None:
        chosen = self._chosen(component, context)
        layers = {name: component.model.get_submodule(name.removesuffix(".weight")) for name in chosen}
        self.spaces = free_spaces(f"method '{self.card.name}'", layers, context, self.options)
        super().attach(component, context)

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        for name, parameter in self.chosen.items():
            if parameter.grad is not None:
                parameter.grad = self.spaces[name](parameter.grad)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        for name, parameter in self.chosen.items():
            base = self.base[name].to(parameter.device, parameter.dtype)
            parameter.copy_(base + self.spaces[name](parameter - base))

    def notes(self) -> JSON:
        spaces: dict[str, FreeSpace] = getattr(self, "spaces", {})  # a plan has none
        return free_share(spaces, {name: p.shape[-1] for name, p in self.chosen.items()}) if spaces else {}

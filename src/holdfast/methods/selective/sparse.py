"""The sparse engine: train some entries of a tensor and pay for those only.

A selection is an index and a float32 vector of values per tensor. The optimizer sees the vectors; the dense
gradient of a tensor is gathered to its selected entries as soon as autograd has accumulated it, and freed before the
next layer's is made. The template is SIFT's (arXiv 2312.11875): one value vector per tensor with its own Adam state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Context, Method, Options, ParameterGroup
from holdfast.methods.selective.auto import Trial, pick_ratio
from holdfast.methods.selective.dense import Scope, weights_in_scope
from holdfast.methods.selective.scores import share
from holdfast.methods.selective.selection import Selected
from holdfast.models.anatomy import Component
from holdfast.values import JSON


def _share(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "auto" or (number and 0 < value <= 1):
        return value
    raise ValueError("it should be a share above 0 and at most 1, or 'auto'")


def _shares(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) > 1 and all(v != "auto" and _share(v) for v in value):
        return value
    raise ValueError("it should list at least two shares above 0 and at most 1")


Ratio = Annotated[float | Literal["auto"], BeforeValidator(_share)]


class SparseScope(Scope):
    """Which share of which matrices; ``ratio: auto`` tries ``candidates`` and keeps one by validation loss."""

    ratio: Ratio = Field(default=0.05, description="share of the entries that train, or 'auto'")
    candidates: Annotated[tuple[float, ...], BeforeValidator(_shares)] = Field(
        default=(0.01, 0.05, 0.2), description="what 'auto' chooses from"
    )
    trial_steps: int = Field(default=10, gt=0, description="optimizer steps that 'auto' gives each candidate")
    trial_batches: int = Field(default=8, gt=0, description="validation batches that 'auto' looks at")

    @model_validator(mode="before")
    @classmethod
    def _mask_ratio(cls, values: Any) -> Any:
        """The papers' word for the same option."""
        if isinstance(values, dict) and "mask_ratio" in values and "ratio" not in values:
            values = {**values, "ratio": values["mask_ratio"]}
            del values["mask_ratio"]
        return values


@dataclass(frozen=True)
class Counted:
    """Stands in a plan where :class:`holdfast.methods.selective.selection.Selected` stands in training."""

    parameter: nn.Parameter
    values: nn.Parameter

    @property
    def base(self) -> Tensor:
        return self.values.detach()

    def ever(self) -> tuple[Tensor, Tensor]:
        return self.base.long(), self.base

    def read(self, index: Tensor) -> Tensor:
        return self.base

    def write(self, index: Tensor, values: Tensor) -> None:
        pass


class Sparse(Method):
    """A selective method that says which entries train; everything else is this engine's.

    While it trains it holds per selected entry: its place (one byte, or few), the base value in the model's own
    dtype, a float32 value, its gradient, and what the optimizer keeps for it.
    """

    Settings: ClassVar[type[Options]] = SparseScope
    goes_beside = True
    selected: dict[str, Selected]
    ratio: float
    trial: Trial | None = None
    _optimizer: torch.optim.Optimizer | None = None

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        """Flat indices (sorted, no entry twice) of the share ``self.ratio`` to train, by parameter name."""
        raise NotImplementedError

    def count(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        """How many entries of each matrix :meth:`choose` selects, from shapes alone: its share of every matrix.

        A method with another rule says so here, or a plan counts it wrong.
        """
        return {name: share(self.ratio, math.prod(shape)) for name, shape in shapes.items()}

    def sketch(self, component: Component, generator: torch.Generator) -> None:
        self.component = component
        ratio = getattr(self.options, "ratio", None)
        if ratio == "auto":
            raise HoldfastError(
                f"method '{self.card.name}' chooses how many entries train by looking at data, so it cannot be planned",
                remedy="plan with a number, such as ratio: 0.05",
                kind="unplanned",
            )
        if ratio is not None:
            self.ratio = ratio
        matrices = self.matrices(component)
        counts = self.count({name: tuple(matrix.shape) for name, matrix in matrices.items()})
        self.selected = {
            name: Counted(matrices[name], nn.Parameter(torch.empty(count, device="meta")))  # type: ignore[misc]
            for name, count in counts.items()
            if count
        }

    def attach(self, component: Component, context: Context) -> None:
        self.component = component
        wanted = getattr(self.options, "ratio", None)
        if wanted == "auto":
            wanted, self.trial = pick_ratio(self, context)
        if wanted is not None:
            self.ratio = wanted
        self.select(self.choose(component, context))

    def select(self, chosen: Mapping[str, Tensor]) -> None:
        """Begin to train the entries of these indices.

        Raises:
            HoldfastError: There are none.
        """
        if not any(index.numel() for index in chosen.values()):
            raise HoldfastError(
                f"method '{self.card.name}' selects no entry of component '{self.component.name}'",
                remedy="raise ratio, or choose another component",
            )
        self.selected = {
            name: Selected(self.component.parameters[name], index)
            for name, index in chosen.items()
            if index.numel() or self.reselects
        }

    def release(self) -> None:
        """Restore the base bit for bit and stop training."""
        for entry in self.selected.values():
            entry.close()
        self.selected = {}

    def ground(self, component: Component) -> set[str]:
        # Whatever it selects in the end, it scores all of these, and some methods train them all first.
        return set(self.matrices(component))

    def matrices(self, component: Component) -> dict[str, nn.Parameter]:
        """The weight matrices that entries are selected from."""
        return weights_in_scope(component, self.options)

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return {name: entry.values for name, entry in self.selected.items()}

    def parameter_groups(self, lr: float, weight_decay: float) -> list[ParameterGroup]:
        # The value vectors are entries of matrices, so decay acts on them, and on nothing else.
        return [{"params": list(self.named_trainable().values()), "lr": lr, "weight_decay": weight_decay}]

    def moves(self) -> set[str]:
        return set(self.selected)

    def anchors(self) -> list[tuple[nn.Parameter, Tensor]]:
        return [(entry.values, entry.base.float()) for entry in self.selected.values()]

    def changed_entries(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {name: entry.ever() for name, entry in self.selected.items()}

    def notes(self) -> JSON:
        return {} if self.trial is None else {"auto_ratio": self.trial}

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    @contextmanager
    def suspended(self) -> Iterator[None]:
        trained = {}
        try:
            for name, entry in self.selected.items():
                index, base = entry.ever()
                trained[name] = entry.read(index)
                entry.write(index, base)
            yield
        finally:
            for name, values in trained.items():
                self.selected[name].write(self.selected[name].ever()[0], values)

    @contextmanager
    def ungathered(self) -> Iterator[None]:
        """Inside, backward passes leave the values' gradients alone, as scoring passes must."""
        for entry in self.selected.values():
            entry.paused = True
        try:
            yield
        finally:
            for entry in self.selected.values():
                entry.paused = False

    def reselect(self, chosen: Mapping[str, Tensor]) -> None:
        """Go on with other entries. Those that stay keep value and moments; new ones begin with empty moments; those
        that leave keep the value they have.
        """
        states = {} if self._optimizer is None else self._optimizer.state
        for name, entry in self.selected.items():
            entry.move(chosen[name], states.get(entry.values, {}))

    def divide(self, rows: Mapping[nn.Parameter, range]) -> list[nn.Parameter]:
        found = [entry for entry in self.selected.values() if entry.parameter in rows]
        for entry in found:
            entry.divide(rows[entry.parameter])
        return [entry.values for entry in found]

    def reunite(self) -> None:
        for entry in self.selected.values():
            entry.reunite()

    def after_step(self, step: int) -> None:
        for entry in self.selected.values():
            entry.scatter()

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}:{part}": tensor for name, entry in self.selected.items() for part, tensor in entry.state().items()
        }

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        for name, entry in self.selected.items():
            entry.load(trainable[name], {part: state[f"{name}:{part}"] for part in entry.state()})

    def detach(self) -> Artifact:
        tensors: dict[str, Tensor] = {}
        for name, entry in self.selected.items():
            index, values = entry.result()
            if index.numel():
                tensors[f"{name}:index"] = index
                tensors[f"{name}:values"] = values
        artifact = self._artifact(tensors, **self.notes())
        self.release()
        return artifact

    @torch.no_grad()
    def restore(self, component: Component, artifact: Artifact) -> None:
        self.component = component
        for key, values in artifact.tensors.items():
            name, _, part = key.rpartition(":")
            if part != "values":
                continue
            parameter = component.parameters.get(name)
            index = artifact.tensors[f"{name}:index"].long()
            if parameter is None or (index.numel() and int(index.max()) >= parameter.numel()):
                raise HoldfastError(
                    f"the artifact changes '{name}', which this model does not have",
                    remedy="load it on the model it was trained on",
                )
            parameter.data.view(-1)[index.to(parameter.device)] = values.to(parameter.device, parameter.dtype)

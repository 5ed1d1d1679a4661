"""The sparse engine: train some entries of a tensor and pay for those only.

A selection is an index and a float32 vector of values per tensor. The optimizer sees the vectors; the dense gradient
of a tensor is gathered to its selected entries as soon as autograd has accumulated it, and freed before the next
layer's is made. The template is SIFT's (arXiv 2312.11875): one value vector per tensor with its own Adam state.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Context, Method
from holdfast.methods.selective.dense import Scope
from holdfast.models.anatomy import Component


class SparseScope(Scope):
    """Which share of which matrices."""

    ratio: float = Field(default=0.05, gt=0, le=1, description="share of the entries that train")


class Selected:
    """The selected entries of one parameter: their places, their trained values, their base values."""

    def __init__(self, parameter: nn.Parameter, index: Tensor) -> None:
        self.parameter = parameter
        self.index = index.to(parameter.device)
        flat = parameter.detach().reshape(-1)
        self.base = flat[self.index].clone()
        self.values = nn.Parameter(self.base.float().clone())
        parameter.requires_grad_(True)
        self._hook = parameter.register_post_accumulate_grad_hook(self._gather)

    def _gather(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.reshape(-1)[self.index].float()
        self.values.grad = gradient if self.values.grad is None else self.values.grad + gradient
        parameter.grad = None

    @torch.no_grad()
    def scatter(self, values: Tensor | None = None) -> None:
        """Write the trained (or the given) values into the dense tensor."""
        source = self.values if values is None else values
        self.parameter.data.view(-1)[self.index] = source.to(self.parameter.dtype)

    def close(self) -> None:
        """Restore the base bit for bit and stop gathering."""
        self._hook.remove()
        self.scatter(self.base)
        self.parameter.requires_grad_(False)
        self.parameter.grad = None


class Sparse(Method):
    """A selective method that says which entries train; everything else is this engine's."""

    Settings = SparseScope

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        """Flat indices (int64, sorted) of the entries to train, by parameter name."""
        raise NotImplementedError

    def attach(self, component: Component, context: Context) -> None:
        self.component = component
        chosen = {name: index for name, index in self.choose(component, context).items() if index.numel()}
        if not chosen:
            raise HoldfastError(
                f"method '{self.card.name}' selects no entry of component '{component.name}'",
                remedy="raise ratio, or choose another component",
            )
        self.selected = {name: Selected(component.parameters[name], index) for name, index in chosen.items()}

    def matrices(self, component: Component) -> dict[str, nn.Parameter]:
        """The weight matrices that entries are selected from."""
        kinds = self.options.modules
        if kinds is None:
            kinds = ("all",) if component.name == "connector" else ("attention", "mlp")
        linears = {id(layer.weight) for layer in component.linears(kinds).values()}
        from holdfast.methods.selective.dense import in_scope

        scope = in_scope(component, Scope(layers=self.options.layers))
        return {name: parameter for name, parameter in scope.items() if id(parameter) in linears}

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return {name: entry.values for name, entry in self.selected.items()}

    def parameter_groups(self, lr: float, weight_decay: float) -> list[dict[str, object]]:
        # The value vectors are entries of matrices, so decay acts on them, and on nothing else.
        return [{"params": list(self.named_trainable().values()), "lr": lr, "weight_decay": weight_decay}]

    def moves(self) -> set[str]:
        return set(self.selected)

    def anchors(self) -> list[tuple[Tensor, Tensor]]:
        return [(entry.values, entry.base.float()) for entry in self.selected.values()]

    def after_step(self, step: int) -> None:
        for entry in self.selected.values():
            entry.scatter()

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        super().load(trainable, state)
        self.after_step(0)

    def detach(self) -> Artifact:
        tensors: dict[str, Tensor] = {}
        for name, entry in self.selected.items():
            tensors[f"{name}:index"] = entry.index.to(torch.int32) if entry.parameter.numel() < 2**31 else entry.index
            tensors[f"{name}:values"] = entry.values
        artifact = self._artifact(tensors)
        for entry in self.selected.values():
            entry.close()
        self.selected = {}
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

"""The engine of selective methods that train whole tensors, and the scope that all selective methods share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Card, Context, Method, Options
from holdfast.methods.experts import written
from holdfast.models.anatomy import Component
from holdfast.models.kinds import is_norm


class Scope(Options):
    """Which tensors of the component: all, or kinds of linear layers, or some layers."""

    modules: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="attention, mlp, mlp_in, mlp_out, all, or names such as q_proj"
    )
    layers: str | tuple[int, ...] | None = Field(default=None, description="'last:2', 'first:4', or indices")


class Dense(Method):
    """Trains the tensors that :meth:`choose` names; keeps their base values on the CPU to restore them."""

    goes_beside = True
    _optimizer: torch.optim.Optimizer | None = None

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        """The tensors to train, by full name; where a method says nothing else, those that its :class:`Scope` names."""
        return in_scope(component, self.options)

    def _chosen(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        chosen = self.choose(component, context)
        if not chosen:
            raise HoldfastError(
                f"method '{self.card.name}' finds nothing to train in component '{component.name}'",
                remedy="choose another component or method",
            )
        return chosen

    def sketch(self, component: Component, generator: torch.Generator) -> None:
        self.component = component
        self.beside = dict[nn.Parameter, torch.dtype]()
        self.chosen = self._chosen(component, Context(generator))
        self.base = {name: parameter.data for name, parameter in self.chosen.items()}
        for parameter in self.chosen.values():
            # As in training: the trained copy of a half-precision weight is float32.
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)

    def attach(self, component: Component, context: Context) -> None:
        self.component = component
        self.chosen = self._chosen(component, context)
        self.base = {name: parameter.detach().cpu().clone() for name, parameter in self.chosen.items()}
        self.beside = _beside(component, self.chosen)
        for parameter in [*self.chosen.values(), *self.beside]:
            # Half-precision weights cannot hold small updates; the trained copy is float32 under autocast.
            if parameter.dtype in _HALF:
                parameter.data = parameter.data.float()
        for parameter in self.chosen.values():
            parameter.requires_grad_(True)

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.chosen)

    def moves(self) -> set[str]:
        return set(self.chosen)

    def bind(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def momentum(self, parameter: nn.Parameter) -> Tensor | None:
        """Adam's first moment of a trained tensor; nothing before a gradient has reached it."""
        assert self._optimizer is not None, "the loop binds the optimizer before the first step"
        moment: Tensor | None = self._optimizer.state.get(parameter, {}).get("exp_avg")
        return moment

    def anchors(self) -> list[tuple[nn.Parameter, Tensor]]:
        return [
            (parameter, self.base[name].to(parameter.device, parameter.dtype))
            for name, parameter in self.chosen.items()
        ]

    def input_rows(self) -> dict[str, nn.Parameter]:
        weights = {id(parameter): parameter for parameter in self.chosen.values()}
        layers = self.component.modules() if weights else {}
        return {
            name: weights[id(layer.weight)]
            for name, layer in layers.items()
            if isinstance(layer, nn.Linear) and id(layer.weight) in weights
        }

    def weight_changes(self) -> dict[str, tuple[Tensor, Tensor]]:
        anchors = {id(parameter): (base, parameter - base) for parameter, base in self.anchors()}
        return {name: anchors[id(weight)] for name, weight in self.input_rows().items()}

    @contextmanager
    def suspended(self) -> Iterator[None]:
        trained = {name: parameter.data for name, parameter in self.chosen.items()}
        try:
            for name, parameter in self.chosen.items():
                parameter.data = self.base[name].to(parameter.device, parameter.dtype)
            yield
        finally:
            for name, parameter in self.chosen.items():
                parameter.data = trained[name]

    def detach(self) -> Artifact:
        artifact = self._artifact(self.chosen)
        self._optimizer = None
        for name, parameter in self.chosen.items():
            parameter.requires_grad_(False)
            parameter.grad = None
            parameter.data = self.base[name].to(parameter.device)
        for parameter, dtype in self.beside.items():
            parameter.data = parameter.data.to(dtype)
        self.base, self.beside = {}, {}
        return artifact

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.component = component
        set_dense(component.parameters, written(artifact, component.parameters))


_HALF = (torch.float16, torch.bfloat16)


def _beside(component: Component, chosen: Mapping[str, nn.Parameter]) -> dict[nn.Parameter, torch.dtype]:
    """Frozen half-precision gains and biases of normalisation layers of which another tensor trains.

    A normalisation takes both in one precision; they go to float32 and back without loss.
    """
    trained = set(map(id, chosen.values()))
    found: dict[nn.Parameter, torch.dtype] = {}
    for module in component.modules().values():
        own = list(module.parameters(recurse=False))
        if is_norm(module) and any(id(parameter) in trained for parameter in own):
            found |= {p: p.dtype for p in own if id(p) not in trained and p.dtype in _HALF}
    return found


def set_dense(parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
    """Write saved tensors over the parameters of the same names, in the parameters' own dtype.

    Raises:
        HoldfastError: A tensor is missing in the model or has another shape.
    """
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameter = parameters.get(name)
            if parameter is None or parameter.shape != tensor.shape:
                raise HoldfastError(
                    f"the artifact holds '{name}' {tuple(tensor.shape)}, which this model does not have",
                    remedy="load it on the model it was trained on",
                )
            parameter.copy_(tensor)


def in_scope(component: Component, options: Scope) -> dict[str, nn.Parameter]:
    """The parameters that a scope leaves in.

    Raises:
        HoldfastError: A kind or layer that the component does not have.
    """
    chosen = dict(component.parameters)
    if options.modules is not None:
        linears = {
            id(parameter) for layer in component.linears(options.modules).values() for parameter in layer.parameters()
        }
        chosen = {name: parameter for name, parameter in chosen.items() if id(parameter) in linears}
    if options.layers is not None:
        blocks = component.layers()
        inside = {
            id(parameter)
            for index in _indices(options.layers, len(blocks), component.name)
            for parameter in blocks[index][1].parameters()
        }
        chosen = {name: parameter for name, parameter in chosen.items() if id(parameter) in inside}
    return chosen


def layers_in_scope(
    component: Component, kinds: Iterable[str], layers: str | tuple[int, ...] | None
) -> dict[str, nn.Linear]:
    """The linear layers of some kinds, in all blocks or in those that a scope names.

    Raises:
        HoldfastError: A kind or layer that the component does not have, or none of both.
    """
    found = component.linears(kinds)
    if layers is None:
        return found
    blocks = component.layers()
    inside = tuple(blocks[index][0] + "." for index in _indices(layers, len(blocks), component.name))
    found = {name: layer for name, layer in found.items() if name.startswith(inside)}
    if not found:
        raise HoldfastError(
            f"layers {layers} of component '{component.name}' have no such linear layer", remedy="name other modules"
        )
    return found


def linears_in_scope(
    component: Component, scope: Scope, otherwise: Iterable[str] = ("attention", "mlp")
) -> dict[str, nn.Linear]:
    """The linear layers that a scope names; where it names no kinds, all of a connector and ``otherwise`` elsewhere.

    Raises:
        HoldfastError: As :func:`layers_in_scope`.
    """
    kinds = scope.modules or (("all",) if component.name == "connector" else otherwise)
    return layers_in_scope(component, kinds, scope.layers)


def weights_in_scope(component: Component, scope: Scope) -> dict[str, nn.Parameter]:
    """The weights of :func:`linears_in_scope`, by full name."""
    wanted = {id(layer.weight) for layer in linears_in_scope(component, scope).values()}
    return {name: parameter for name, parameter in component.parameters.items() if id(parameter) in wanted}


def blocks_in_scope(component: Component, layers: str | tuple[int, ...] | None) -> dict[str, nn.Module]:
    """The repeated blocks that a scope names, by full name; without a scope all of them.

    Raises:
        HoldfastError: The component has no such block, or none at all.
    """
    blocks = component.layers()
    if not blocks:
        raise HoldfastError(
            f"component '{component.name}' has no repeated layers",
            remedy="use the method on llm or vision, or another one here",
        )
    chosen = range(len(blocks)) if layers is None else _indices(layers, len(blocks), component.name)
    return {blocks[index][0]: blocks[index][1] for index in chosen}


def _indices(layers: str | tuple[int, ...], count: int, component: str) -> list[int]:
    if isinstance(layers, str):
        side, colon, number = layers.partition(":")
        if side not in ("first", "last") or not colon or not number.isdigit() or not 0 < int(number) <= count:
            raise HoldfastError(
                f"layers '{layers}' does not fit component '{component}' of {count} layers",
                remedy="write 'last:2', 'first:4', or a list of indices",
            )
        return list(range(int(number))) if side == "first" else list(range(count - int(number), count))
    for index in layers:
        if not -count <= index < count:
            raise HoldfastError(
                f"component '{component}' has {count} layers, no layer {index}",
                remedy="write 'last:2', 'first:4', or a list of indices",
            )
    return [index % count for index in layers]


class Frozen(Dense):
    """Nothing moves."""

    card = Card(
        name="frozen",
        paradigm="baseline",
        family="none",
        summary="nothing moves",
        paper="",
        year=None,
        checked_against="bit identity",
    )
    goes_beside = False

    def attach(self, component: Component, context: Context) -> None:
        self.component, self.chosen, self.base, self.beside = component, {}, {}, {}

    def sketch(self, component: Component, generator: torch.Generator) -> None:
        self.attach(component, Context(generator))

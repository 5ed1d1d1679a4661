"""Selective methods that train whole tensors: full tuning, some layers or kinds, norms, biases, random halves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Card, Context, Method, Options
from holdfast.methods.registry import register
from holdfast.models.anatomy import Component


class Dense(Method):
    """Trains the tensors that :meth:`choose` names; keeps their base values on the CPU to restore them."""

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        """The tensors to train, by full name."""
        raise NotImplementedError

    def attach(self, component: Component, context: Context) -> None:
        self.component = component
        self.chosen = self.choose(component, context)
        if not self.chosen:
            raise HoldfastError(
                f"method '{self.card.name}' finds nothing to train in component '{component.name}'",
                remedy="choose another component or method",
            )
        self._begin(self.chosen)

    def _begin(self, chosen: dict[str, nn.Parameter]) -> None:
        self.base = {name: parameter.detach().cpu().clone() for name, parameter in chosen.items()}
        for parameter in chosen.values():
            # Half-precision weights cannot hold small updates; the trained copy is float32 under autocast.
            if parameter.dtype in (torch.float16, torch.bfloat16):
                parameter.data = parameter.data.float()
            parameter.requires_grad_(True)

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.chosen)

    def moves(self) -> set[str]:
        return set(self.chosen)

    def anchors(self) -> list[tuple[Tensor, Tensor]]:
        return [(parameter, self.base[name].to(parameter.device)) for name, parameter in self.chosen.items()]

    def detach(self) -> Artifact:
        artifact = self._artifact(self.chosen)
        for name, parameter in self.chosen.items():
            parameter.requires_grad_(False)
            parameter.grad = None
            parameter.data = self.base[name].to(parameter.device)
        self.base = {}
        return artifact

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.component = component
        set_dense(component.parameters, artifact.tensors)


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


class Scope(Options):
    """Which tensors of the component: all, or kinds of linear layers, or some layers."""

    modules: tuple[str, ...] | None = Field(default=None, description="attention, mlp, all, or names such as q_proj")
    layers: str | tuple[int, ...] | None = Field(default=None, description="'last:2', 'first:4', or indices")


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
            raise HoldfastError(f"component '{component}' has {count} layers, no layer {index}")
    return [index % count for index in layers]


class Frozen(Dense):
    """Nothing moves."""

    def attach(self, component: Component, context: Context) -> None:
        self.component, self.chosen, self.base = component, {}, {}


register(Card("frozen", "baseline", "none", "nothing moves", "", None, True, checked_against="bit identity"))(Frozen)


@register(
    Card(
        "full", "selective", "scope", "every tensor of the component, or of the named modules and layers",
        "arXiv 2503.04543", 2025, True, default_lr=2e-5, checked_against="plain AdamW on the same tensors",
    )
)  # fmt: skip
class Full(Dense):
    """Full tuning of a scope. The study's own 'full' is the connector and the last two llm layers (SPIDER's code)."""

    Settings = Scope

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        return in_scope(component, self.options)


@register(
    Card(
        "norms", "selective", "scope", "gains and biases of every normalisation layer", "arXiv 2312.11420", 2024,
        True, default_lr=1e-3, checked_against="plain AdamW on the same tensors",
    )
)  # fmt: skip
class Norms(Dense):
    """LN-tuning: a normalisation layer is one whose own weight is a vector as long as its input is wide."""

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        vectors = {
            id(parameter)
            for module in component.modules().values()
            if "norm" in type(module).__name__.lower()
            for parameter in module.parameters(recurse=False)
        }
        return {name: parameter for name, parameter in component.parameters.items() if id(parameter) in vectors}


@register(
    Card(
        "bitfit", "selective", "scope", "bias terms only", "arXiv 2106.10199", 2022, True, default_lr=1e-3,
        checked_against="plain AdamW on the same tensors",
    )
)  # fmt: skip
class BitFit(Dense):
    """Biases only. A llama-type llm has none: then this refuses; Qwen2 has them on q, k and v."""

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        biases = {
            id(bias)
            for module in component.modules().values()
            if isinstance(bias := getattr(module, "bias", None), nn.Parameter)
        }
        return {name: parameter for name, parameter in component.parameters.items() if id(parameter) in biases}


class Halves(Options):
    """HFT's one choice."""

    embeddings: bool = Field(default=True, description="token embeddings and output head are trained too")
    granularity: Literal["category"] = "category"


@register(
    Card(
        "hft", "selective", "random", "half of each layer's matrices, drawn by category", "arXiv 2404.18466", 2024,
        True, default_lr=2e-5, checked_against="count per layer and category",
    )
)  # fmt: skip
class HalfFineTuning(Dense):
    """Category-level halves: per layer two of q, k, v, o; of gate, up, down two in every other layer and one in the
    rest; half of the norms. The draw is fixed for one run (the paper redraws it between stages of a sequence).
    """

    Settings = Halves

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        def draw(names: list[str], count: int) -> list[str]:
            order = torch.randperm(len(names), generator=context.generator).tolist()
            return [names[index] for index in order[:count]]

        if not component.layers():
            raise HoldfastError(
                f"component '{component.name}' has no repeated layers to halve", remedy="use hft on llm or vision"
            )
        wanted: list[str] = []
        inside: set[str] = set()
        attention, mlp = set(_kind(component, "attention")), set(_kind(component, "mlp"))
        norms: list[str] = []
        for position, (layer, _) in enumerate(component.layers()):
            own = [name for name in component.parameters if name.startswith(layer + ".")]
            inside |= set(own)
            heads = [name for name in own if name in attention]
            wanted += draw(heads, len(heads) // 2)
            forward = [name for name in own if name in mlp]
            wanted += draw(forward, (len(forward) + 1 - position % 2) // 2)
            norms += [name for name in own if component.parameters[name].ndim == 1 and "norm" in name.lower()]
        wanted += draw(norms, len(norms) // 2)
        if self.options.embeddings:
            wanted += [
                name for name in component.parameters if name not in inside and component.parameters[name].ndim > 1
            ]
        return {name: parameter for name, parameter in component.parameters.items() if name in set(wanted)}


def _kind(component: Component, kind: str) -> list[str]:
    return [f"{name}.weight" for name in component.linears((kind,))]

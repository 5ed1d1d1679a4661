"""Bottleneck adapters around linear layers, as the PEFT study of arXiv 2406.05130 wires them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Card, Context, Method, Options
from holdfast.models.anatomy import Component
from holdfast.models.kinds import STREAM_WRITERS

_MODULE = "holdfast_adapter"


class AdapterOptions(Options):
    """Size, place and start of the bottlenecks."""

    bottleneck: int = Field(default=256, gt=0)
    placement: Literal["mlp", "attention", "both"] = "mlp"
    activation: Literal["tanh", "gelu", "relu"] = "tanh"
    dropout: float = Field(default=0.05, ge=0, lt=1, description="on the adapter's input")
    init: Literal["study", "identity"] = Field(
        default="study", description="study: both matrices N(0, 0.02); identity: the second starts at zero"
    )


class Bottleneck(nn.Module):
    """``A(z) = z + U act(D drop(z))`` without biases; ``D [b, d]``, ``U [d, b]``."""

    def __init__(self, width: int, options: AdapterOptions, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Linear(width, options.bottleneck, bias=False)
        self.up = nn.Linear(options.bottleneck, width, bias=False)
        self.drop = nn.Dropout(options.dropout)
        self.act: Callable[[Tensor], Tensor] = getattr(torch.nn.functional, options.activation, torch.tanh)
        with torch.no_grad():
            self.down.weight.normal_(0, 0.02, generator=generator)
            if options.init == "study":
                self.up.weight.normal_(0, 0.02, generator=generator)
            else:
                self.up.weight.zero_()

    asleep = False

    def forward(self, z: Tensor) -> Tensor:
        if self.asleep:
            return z
        inner = self.drop(z).to(self.down.weight.dtype)
        change: Tensor = self.up(self.act(self.down(inner)))
        return z + change.to(z.dtype)


class Adapter(Method):
    """One bottleneck a site: three a block in the MLP, four in the attention, seven in both.

    The prose of the paper describes Houlsby's placement; its parameter counts and code are this one.
    """

    card = Card(
        name="adapter",
        paradigm="additive",
        family="adapter",
        summary="bottlenecks in front of gate and up and behind down",
        paper="arXiv 2406.05130",
        year=2024,
        mergeable=False,
        official_code="alenai97/PEFT-MLLM",
        extra_inference_cost="two thin matrix products a site",
        default_lr=5e-5,
        checked_against="published parameter counts; NumPy forward",
    )

    Settings = AdapterOptions

    def attach(self, component: Component, context: Context) -> None:
        self.component = component
        kinds = ("attention", "mlp") if self.options.placement == "both" else (self.options.placement,)
        self.sites = component.linears(kinds)
        self.handles: list[RemovableHandle] = []
        for name, layer in self.sites.items():
            behind = name.rsplit(".", 1)[-1] in STREAM_WRITERS  # all others carry it in front
            width = layer.out_features if behind else layer.in_features
            if self.options.bottleneck > width:
                raise HoldfastError(
                    f"adapter bottleneck {self.options.bottleneck} exceeds the width {width} of '{name}'",
                    remedy=f"choose a bottleneck of at most {width}",
                )
            block = Bottleneck(width, self.options, context.generator).to(layer.weight.device)
            layer.add_module(_MODULE, block)
            if behind:
                self.handles.append(layer.register_forward_hook(_apply_behind))
            else:
                self.handles.append(layer.register_forward_pre_hook(_apply_in_front))

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return {
            f"{name}.{part}": parameter
            for name, layer in self.sites.items()
            for part, parameter in layer.get_submodule(_MODULE).named_parameters()
        }

    def added(self) -> int:
        return sum(parameter.numel() for parameter in self.named_trainable().values())

    @contextmanager
    def suspended(self) -> Iterator[None]:
        blocks = [layer.get_submodule(_MODULE) for layer in self.sites.values()]
        try:
            for block in blocks:
                block.asleep = True  # type: ignore[assignment]
            yield
        finally:
            for block in blocks:
                block.asleep = False  # type: ignore[assignment]

    def detach(self) -> Artifact:
        artifact = self._artifact(self.named_trainable())
        for handle in self.handles:
            handle.remove()
        for layer in self.sites.values():
            del layer._modules[_MODULE]
        self.sites = {}
        return artifact

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.attach(component, Context(torch.Generator()))
        self.load(artifact.tensors, {})
        for parameter in self.named_trainable().values():
            parameter.requires_grad_(False)


def _apply_in_front(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.get_submodule(_MODULE)(inputs[0]), *inputs[1:])


def _apply_behind(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Any:
    return layer.get_submodule(_MODULE)(output)

"""Whole tensors by scope: full tuning, the last layers, kinds of modules, norms, biases."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from holdfast.methods.contract import Card, Context
from holdfast.methods.registry import register
from holdfast.methods.selective.dense import Dense, Scope, in_scope
from holdfast.models.anatomy import Component


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


class LayerScope(Scope):
    """The last two layers, unless others are named."""

    layers: str | tuple[int, ...] | None = Field(default="last:2", description="'last:2', 'first:4', or indices")


@register(
    Card(
        "layers", "selective", "scope", "the last two layers, or others by index", "OpenReview bif35if4n3", 2025,
        True, official_code="WenkeHuang/NRCA", default_lr=2e-5, checked_against="plain AdamW on the same tensors",
    )
)  # fmt: skip
class Layers(Full):
    """Full tuning of some repeated blocks: ``tune_decoder_layer 2`` of the NRCA and SPIDER releases by default."""

    Settings = LayerScope


class KindScope(Scope):
    """The self-attention projections, unless others are named."""

    modules: tuple[str, ...] | None = Field(
        default=("attention",), description="attention, mlp, all, or names such as gate_proj"
    )


@register(
    Card(
        "module_kinds", "selective", "scope", "the linear layers of one kind: attention, or gate and up",
        "arXiv 2510.08564", 2025, True, official_code="jessemelpolio/LMM_CL", default_lr=2e-5,
        checked_against="plain AdamW on the same tensors",
    )
)  # fmt: skip
class ModuleKinds(Full):
    """Full tuning of kinds of linear layers. The paper's second choice is ``modules: [gate_proj, up_proj]``."""

    Settings = KindScope


@register(
    Card(
        "norms", "selective", "scope", "gains and biases of every normalisation layer", "arXiv 2312.11420", 2024,
        True, default_lr=1e-3, checked_against="plain AdamW on the same tensors",
    )
)  # fmt: skip
class Norms(Dense):
    """LN-tuning: a normalisation layer is one whose class is named so."""

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        return component.norms()


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

"""Whole tensors by scope: full tuning, the last layers, kinds of modules, norms, biases."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import nn

from holdfast.methods.contract import Card, Context, Options
from holdfast.methods.selective.dense import Dense, Scope, in_scope
from holdfast.models.anatomy import Component


class Full(Dense):
    """Full tuning of a scope. The study's own 'full' is the connector and the last two llm layers (SPIDER's code)."""

    over_shards = True
    card = Card(
        name="full",
        paradigm="selective",
        family="scope",
        summary="every tensor of the component, or of the named modules and layers",
        paper="arXiv 2503.04543",
        year=2025,
        default_lr=2e-5,
        checked_against="plain AdamW on the same tensors",
    )

    Settings: ClassVar[type[Options]] = Scope


class LayerScope(Scope):
    """The last two layers, unless others are named."""

    layers: str | tuple[int, ...] | None = Field(default="last:2", description="'last:2', 'first:4', or indices")


class Layers(Full):
    """Full tuning of some repeated blocks: ``tune_decoder_layer 2`` of the NRCA and SPIDER releases by default."""

    over_shards = True
    card = Card(
        name="layers",
        paradigm="selective",
        family="scope",
        summary="the last two layers, or others by index",
        paper="OpenReview bif35if4n3",
        year=2025,
        official_code="WenkeHuang/NRCA",
        default_lr=2e-5,
        checked_against="plain AdamW on the same tensors",
    )

    Settings = LayerScope


class KindScope(Scope):
    """The self-attention projections, unless others are named."""

    modules: tuple[str, ...] | None = Field(
        default=("attention",), min_length=1, description="attention, mlp, all, or names such as gate_proj"
    )


class ModuleKinds(Full):
    """Full tuning of kinds of linear layers; the paper's two recipes are ``attention_only`` and ``gate_up``."""

    over_shards = True
    card = Card(
        name="module_kinds",
        paradigm="selective",
        family="scope",
        summary="the linear layers of one kind: attention, or gate and up",
        paper="arXiv 2510.08564",
        year=2025,
        official_code="jessemelpolio/LMM_CL",
        default_lr=2e-5,
        checked_against="plain AdamW on the same tensors",
    )

    Settings = KindScope


class OnlyLayers(Options):
    """What is left to choose where the kind of layers is the recipe."""

    layers: str | tuple[int, ...] | None = Field(default=None, description="'last:2', 'first:4', or indices")


class AttentionOnly(Full):
    """The self-attention projections; the paper gains 24.9 on its targets with 0.6 lost elsewhere."""

    over_shards = True
    card = Card(
        name="attention_only",
        paradigm="selective",
        family="scope",
        summary="the projections of self-attention, and nothing else",
        paper="arXiv 2510.08564",
        year=2025,
        official_code="jessemelpolio/LMM_CL",
        default_lr=2e-5,
        checked_against="plain AdamW on the same tensors",
    )

    Settings = OnlyLayers
    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        return in_scope(component, Scope(modules=self.kinds, layers=self.options.layers))


class GateUp(AttentionOnly):
    """The layers of the MLP that read the stream, the one that writes to it frozen; the paper gains 30.5 on its targets
    with 2.1 lost elsewhere.
    """

    over_shards = True
    card = Card(
        name="gate_up",
        paradigm="selective",
        family="scope",
        summary="gate and up of the MLP, with down frozen",
        paper="arXiv 2510.08564",
        year=2025,
        official_code="jessemelpolio/LMM_CL",
        default_lr=2e-5,
        checked_against="plain AdamW on the same tensors",
    )

    kinds = ("mlp_in",)


class Norms(Dense):
    """LN-tuning: a normalisation layer is one whose class is named so."""

    over_shards = True
    card = Card(
        name="norms",
        paradigm="selective",
        family="scope",
        summary="gains and biases of every normalisation layer",
        paper="arXiv 2312.11420",
        year=2024,
        default_lr=1e-3,
        checked_against="plain AdamW on the same tensors",
    )

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        return component.norms()


class BitFit(Dense):
    """Biases only. A llama-type llm has none: then this refuses; Qwen2 has them on q, k and v."""

    over_shards = True
    card = Card(
        name="bitfit",
        at="vision",
        paradigm="selective",
        family="scope",
        summary="bias terms only",
        paper="arXiv 2106.10199",
        year=2022,
        default_lr=1e-3,
        checked_against="plain AdamW on the same tensors",
    )

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        biases = {
            id(bias)
            for module in component.modules().values()
            if isinstance(bias := getattr(module, "bias", None), nn.Parameter)
        }
        return {name: parameter for name, parameter in component.parameters.items() if id(parameter) in biases}

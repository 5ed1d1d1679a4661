"""Bottleneck adapters around linear layers, as the PEFT study of arXiv 2406.05130 wires them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from holdfast.methods.additive.bottleneck import BottleneckOptions, Bottlenecks
from holdfast.methods.contract import Card
from holdfast.methods.inserted import Spot
from holdfast.models.anatomy import Component
from holdfast.models.kinds import STREAM_WRITERS


class AdapterOptions(BottleneckOptions):
    """Where, too."""

    source = "alenai97/PEFT-MLLM"
    placement: Literal["mlp", "attention", "both"] = Field(default="mlp", description="the sublayers that have them")


class Adapter(Bottlenecks):
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

    def sites(self, component: Component) -> dict[str, Spot]:
        kinds = ("attention", "mlp") if self.options.placement == "both" else (self.options.placement,)
        found = {}
        for name, layer in self.linears(component, kinds).items():
            if name.rsplit(".", 1)[-1] in STREAM_WRITERS:
                found[name] = Spot(layer, layer.out_features, "behind")
            else:  # all others carry it in front
                found[name] = Spot(layer, layer.in_features, "front")
        return found

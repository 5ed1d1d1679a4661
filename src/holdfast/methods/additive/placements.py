"""Bottleneck adapters as Houlsby, Pfeiffer and He place them: behind both sublayers, behind or beside the MLP."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from holdfast.errors import HoldfastError
from holdfast.methods.additive.bottleneck import BottleneckOptions, Bottlenecks
from holdfast.methods.contract import Card, Options
from holdfast.methods.inserted import Spot
from holdfast.models.anatomy import Component


class HoulsbyOptions(BottleneckOptions):
    """As released."""

    source = "google-research/adapter-bert"
    bottleneck: int = Field(default=64, gt=0, description="width inside")
    activation: Literal["tanh", "gelu", "relu", "silu"] = Field(default="gelu", description="between both matrices")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on the adapter's input")
    deviation: float = Field(default=1e-3, gt=0, description="of the normal draw")
    bias: bool = Field(default=True, description="both matrices have a bias, which starts at zero")


class Houlsby(Bottlenecks):
    """``h + U gelu(D h)`` on what the attention and what the MLP give, before either is added to the stream.

    The paper trains the norms behind the adapters as well, which stay as they are here: in models of today they stand
    in front of a sublayer and not behind it. Both matrices start near zero, so step 0 is nearly the base.
    """

    card = Card(
        name="houlsby",
        paradigm="additive",
        family="adapter",
        summary="bottlenecks behind the attention and behind the MLP",
        paper="arXiv 1902.00751",
        year=2019,
        mergeable=False,
        official_code="google-research/adapter-bert",
        extra_inference_cost="two thin matrix products a sublayer",
        default_lr=3e-4,
        checked_against="the formula in NumPy, over a whole block",
    )
    Settings: ClassVar[type[Options]] = HoulsbyOptions
    kinds: ClassVar[tuple[str, ...]] = ("attention", "mlp")

    def sites(self, component: Component) -> dict[str, Spot]:
        return {n: Spot(m, m.out_features, "behind") for n, m in self.writers(component, self.kinds).items()}


class PfeifferOptions(BottleneckOptions):
    """As in adapter-transformers."""

    source = "adapter-hub/adapters; the width there is a sixteenth of the model's"
    bottleneck: int = Field(default=48, gt=0, description="width inside")
    activation: Literal["tanh", "gelu", "relu", "silu"] = Field(default="relu", description="between both matrices")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on the adapter's input")
    bias: bool = Field(default=True, description="both matrices have a bias, which starts at zero")


class Pfeiffer(Houlsby):
    """``h + U relu(D h)`` on what the MLP gives, before it is added to the stream: one bottleneck a block."""

    card = Card(
        name="pfeiffer",
        paradigm="additive",
        family="adapter",
        summary="bottlenecks behind the MLP",
        paper="arXiv 2005.00247",
        year=2021,
        mergeable=False,
        official_code="adapter-hub/adapters",
        extra_inference_cost="two thin matrix products a block",
        default_lr=1e-4,
        checked_against="the formula in NumPy, over a whole block",
    )
    Settings = PfeifferOptions
    kinds = ("mlp",)


class ParallelOptions(BottleneckOptions):
    """As released."""

    source = "jxhe/unify-parameter-efficient-tuning"
    bottleneck: int = Field(default=512, gt=0, description="width inside")
    activation: Literal["tanh", "gelu", "relu", "silu"] = Field(default="relu", description="between both matrices")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on the adapter's input")
    init: Literal["study", "identity", "lora"] = Field(
        default="lora", description="as of method adapter; lora: Kaiming's rule and zero"
    )
    scale: float = Field(default=4.0, gt=0, description="of what the bottleneck adds")
    bias: bool = Field(default=True, description="both matrices have a bias, which starts at zero")


class Parallel(Bottlenecks):
    """``MLP(x) + s U relu(D x)``: the bottleneck reads what the MLP reads. Step 0 is the base."""

    card = Card(
        name="parallel_adapter",
        paradigm="additive",
        family="adapter",
        summary="scaled bottlenecks parallel to the MLP",
        paper="arXiv 2110.04366",
        year=2022,
        mergeable=False,
        official_code="jxhe/unify-parameter-efficient-tuning",
        extra_inference_cost="two thin matrix products a block",
        default_lr=5e-5,
        checked_against="the formula in NumPy, over a whole block",
    )
    Settings = ParallelOptions

    def sites(self, component: Component) -> dict[str, Spot]:
        layers = self.linears(component, ("mlp",))
        found = {}
        for name, last in self.writers(component, ("mlp",)).items():
            home = name.rpartition(".")[0]
            reads = {m.in_features for n, m in layers.items() if n.rpartition(".")[0] == home and m is not last}
            if reads != {last.out_features} or home in dict(component.layers()):
                raise HoldfastError(
                    f"the MLP of '{name}' is no module of its own that reads and gives the same width",
                    remedy="use method adapter or houlsby",
                )
            found[home] = Spot(component.model.get_submodule(home), last.out_features, "beside")
        return found

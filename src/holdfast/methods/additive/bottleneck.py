"""Bottleneck adapters: the small network, its options, and the linear layers that it is put to."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Options
from holdfast.methods.inserted import Insert, Inserted, Spot
from holdfast.methods.selective.dense import layers_in_scope
from holdfast.models.anatomy import Component
from holdfast.models.kinds import STREAM_WRITERS


class BottleneckOptions(Options):
    """Size and start of the bottlenecks, and the layers that have them."""

    source = "alenai97/PEFT-MLLM"
    bottleneck: int = Field(default=256, gt=0, description="width inside")
    activation: Literal["tanh", "gelu", "relu", "silu"] = Field(default="tanh", description="between both matrices")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="on the adapter's input")
    init: Literal["study", "identity", "lora"] = Field(
        default="study",
        description="study: both matrices normal; identity: the second starts at zero; lora: the first by Kaiming's "
        "rule, the second at zero",
    )
    deviation: float = Field(default=0.02, gt=0, description="of the normal draw")
    scale: float = Field(default=1.0, gt=0, description="of what the bottleneck adds")
    bias: bool = Field(default=False, description="both matrices have a bias, which starts at zero")
    layers: str | tuple[int, ...] | None = Field(default=None, description="'last:2', 'first:4', or indices")

    @model_validator(mode="after")
    def _kaiming_has_its_own_deviation(self) -> BottleneckOptions:
        if self.init == "lora" and self.deviation != type(self).model_fields["deviation"].default:
            raise ValueError("a deviation is for init: study or identity; lora draws by Kaiming's rule")
        return self


class Bottleneck(Insert):
    """``z + s (U act(D drop(x) + b) + c)``; ``D [b, d]``, ``U [d, b]``; ``x`` is ``z`` where it stands in series."""

    def __init__(self, width: int, options: BottleneckOptions, generator: torch.Generator | None) -> None:
        super().__init__()
        self.down = nn.Linear(width, options.bottleneck, bias=options.bias)
        self.up = nn.Linear(options.bottleneck, width, bias=options.bias)
        self.drop = nn.Dropout(options.dropout)
        self.act: Callable[[Tensor], Tensor] = getattr(torch.nn.functional, options.activation, torch.tanh)
        self.scale = options.scale
        with torch.no_grad():
            if options.init == "lora":
                bound = width**-0.5
                self.down.weight.uniform_(-bound, bound, generator=generator)
            else:
                self.down.weight.normal_(0, options.deviation, generator=generator)
            if options.init == "study":
                self.up.weight.normal_(0, options.deviation, generator=generator)
            else:
                self.up.weight.zero_()
            for bias in (self.down.bias, self.up.bias):
                if bias is not None:
                    bias.zero_()

    def change(self, flowing: Tensor, read: Tensor) -> Tensor:
        inner = self.drop(read).to(self.down.weight.dtype)
        change: Tensor = self.scale * self.up(self.act(self.down(inner)))
        return flowing + change.to(flowing.dtype)


class Bottlenecks(Inserted):
    """A method of bottlenecks; its file says at which sites."""

    Settings: ClassVar[type[Options]] = BottleneckOptions

    def build(self, name: str, site: Spot, generator: torch.Generator | None) -> Bottleneck:
        if self.options.bottleneck > site.width:
            raise HoldfastError(
                f"{self.card.name} bottleneck {self.options.bottleneck} exceeds the width {site.width} of '{name}'",
                remedy=f"choose a bottleneck of at most {site.width}",
            )
        return Bottleneck(site.width, self.options, generator)

    def linears(self, component: Component, kinds: tuple[str, ...]) -> dict[str, nn.Linear]:
        """The linear layers of these kinds in the chosen blocks."""
        return layers_in_scope(component, kinds, self.options.layers)

    def writers(self, component: Component, kinds: tuple[str, ...]) -> dict[str, nn.Linear]:
        """Of these layers those whose outputs are added to the residual stream: one a sublayer.

        Raises:
            HoldfastError: There is none.
        """
        found = {n: m for n, m in self.linears(component, kinds).items() if n.rsplit(".", 1)[-1] in STREAM_WRITERS}
        if not found:
            raise HoldfastError(
                f"component '{component.name}' has no layer that ends a sublayer of kind {' or '.join(kinds)}",
                remedy="use method adapter, which stands at every linear layer",
            )
        return found

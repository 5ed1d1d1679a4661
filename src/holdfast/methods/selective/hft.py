"""HFT (arXiv 2404.18466): half of the matrices train, drawn layer by layer and category by category."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Context, Options
from holdfast.methods.selective.dense import Dense
from holdfast.models.anatomy import Component


class Halves(Options):
    """HFT's one choice."""

    embeddings: bool = Field(default=True, description="token embeddings and output head are trained too")


class HalfFineTuning(Dense):
    """Category-level halves: per layer two of q, k, v, o; of gate, up, down two in every other layer and one in the
    rest; half of the norms. The draw is fixed for one run (the paper redraws it between stages of a sequence).
    """

    card = Card(
        name="hft",
        paradigm="selective",
        family="random",
        summary="half of each layer's matrices, drawn by category",
        paper="arXiv 2404.18466",
        year=2024,
        default_lr=2e-5,
        checked_against="count per layer and category",
    )
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
        gains = component.norms()
        norms: list[str] = []
        for position, (layer, _) in enumerate(component.layers()):
            own = [name for name in component.parameters if name.startswith(layer + ".")]
            inside |= set(own)
            heads = [name for name in own if name in attention]
            wanted += draw(heads, len(heads) // 2)
            forward = [name for name in own if name in mlp]
            wanted += draw(forward, (len(forward) + 1 - position % 2) // 2)
            norms += [name for name in own if name in gains]
        wanted += draw(norms, len(norms) // 2)
        if self.options.embeddings:
            wanted += [
                name for name in component.parameters if name not in inside and component.parameters[name].ndim > 1
            ]
        return {name: parameter for name, parameter in component.parameters.items() if name in set(wanted)}


def _kind(component: Component, kind: str) -> list[str]:
    return [f"{name}.weight" for name in component.linears((kind,))]

"""HFT (arXiv 2404.18466): half of the matrices train, drawn layer by layer and category by category."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from holdfast.methods.contract import Card, Context, Options
from holdfast.methods.selective.dense import Dense, blocks_in_scope
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

        blocks = blocks_in_scope(component, None)
        attention, mlp = ({f"{name}.weight" for name in component.linears((kind,))} for kind in ("attention", "mlp"))
        gains = component.norms()
        wanted, norms, inside = list[str](), list[str](), set[str]()
        for position, layer in enumerate(blocks):
            own = [name for name in component.parameters if name.startswith(layer + ".")]
            heads, forward = ([name for name in own if name in kind] for kind in (attention, mlp))
            wanted += draw(heads, len(heads) // 2) + draw(forward, (len(forward) + 1 - position % 2) // 2)
            norms += [name for name in own if name in gains]
            inside.update(own)
        wanted += draw(norms, len(norms) // 2)
        if self.options.embeddings:
            wanted += [name for name, p in component.parameters.items() if name not in inside and p.ndim > 1]
        chosen = set(wanted)
        return {name: parameter for name, parameter in component.parameters.items() if name in chosen}

"""Visual prompt tuning (arXiv 2203.12119): learned tokens beside an image's own in the vision tower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.additive.tower import TowerPrompts
from holdfast.methods.contract import Artifact, Card, Context, Method, Options
from holdfast.models.anatomy import Component


class VptOptions(Options):
    """Number of tokens, and where."""

    source = "KMnP/vpt; deep prompts are what the paper finds best"
    tokens: int = Field(default=5, gt=0, description="prompt tokens beside an image's own")
    deep: bool = Field(default=True, description="every block has prompts of its own; off: those of the first flow on")


class Vpt(Method):
    """Prompts in the tower; the connector and the llm get the image's tokens only. It does not start at the base.

    They stand behind the image's tokens instead of behind the class token: attention in a tower looks at all sides.
    """

    card = Card(
        name="vpt",
        paradigm="additive",
        family="prompt",
        summary="learned tokens in the vision tower",
        paper="arXiv 2203.12119",
        year=2022,
        mergeable=False,
        official_code="KMnP/vpt",
        extra_inference_cost="a few more tokens an image",
        default_lr=1e-3,
        at="vision",
        checked_against="a longer row through each block, over several steps",
    )
    Settings = VptOptions
    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    goes_beside = True

    def ground(self, component: Component) -> set[str]:
        return {"the rows that the tower reads"}

    def attach(self, component: Component, context: Context) -> None:
        if component.name != "vision":
            raise HoldfastError(
                f"method 'vpt' works in the vision tower, not in '{component.name}'",
                remedy="write it under tune.vision",
            )
        self.component = component
        levels, width = len(component.layers()) if self.options.deep else 1, tower_width(component)
        device = next(iter(component.parameters.values())).device
        self.table = nn.Parameter(torch.empty(levels, self.options.tokens, width, device=device))
        bound = start_bound(component, width)
        with torch.no_grad():
            drawn = torch.rand(self.table.shape, generator=context.generator) * 2 - 1
            self.table.copy_((drawn * bound).to(device))
        self.tower = TowerPrompts(component, self._prompts, self.card.name)

    def _prompts(self, level: int) -> Tensor | None:
        return self.table[level] if level < len(self.table) else None

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return {"prompts": self.table}

    def added(self) -> int:
        return self.table.numel()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        self.tower.asleep = True
        try:
            yield
        finally:
            self.tower.asleep = False

    def detach(self) -> Artifact:
        artifact = self._artifact(self.named_trainable())
        self.tower.take_off()
        return artifact

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.attach(component, Context(torch.Generator()))
        shape = tuple(artifact.tensors["prompts"].shape)
        if shape != tuple(self.table.shape):
            self.tower.take_off()
            raise HoldfastError(
                f"the artifact holds prompts of {shape}, which this tower has no place for",
                remedy="load it on the model it was trained on",
            )
        self.load(artifact.tensors, {})
        self.table.requires_grad_(False)


def tower_width(vision: Component) -> int:
    """Of a token in the tower's blocks."""
    blocks = vision.layers()
    first = next((m for m in blocks[0][1].modules() if isinstance(m, nn.Linear)), None) if blocks else None
    if first is None:
        raise HoldfastError(
            "the vision tower has no blocks of linear layers", remedy="use another method, such as full"
        )
    return first.in_features


def start_bound(vision: Component, width: int) -> float:
    """The release's: ``sqrt(6 / (3 patch^2 + width))``."""
    config: Any = vision.model.config
    size = getattr(getattr(config, "vision_config", None), "patch_size", 16)
    height, across = (size, size) if isinstance(size, int) else (int(size[0]), int(size[-1]))
    return float((6 / (3 * height * across + width)) ** 0.5)

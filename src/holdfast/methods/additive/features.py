"""Methods on the image features that the llm is given: CLIP-Adapter and TaskRes in their forms for an llm."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Options
from holdfast.methods.inserted import Insert, Inserted, Spot
from holdfast.models.anatomy import Component


class Features(Inserted):
    """A method that changes what the connector gives."""

    def sites(self, component: Component) -> dict[str, Spot]:
        if component.name != "connector":
            raise HoldfastError(
                f"method '{self.card.name}' works on what the connector gives, not on '{component.name}'",
                remedy="write it under tune.connector",
            )
        model: Any = component.model
        width = int(model.get_input_embeddings().embedding_dim)
        found = {n: Spot(m, width, "behind") for n, m in _roots(component).items() if _gives(m, width)}
        if not found:
            raise HoldfastError(
                f"the connector of {type(model).__name__} is no module that gives the llm's width",
                remedy="use another method, such as lora",
            )
        return found


def _roots(component: Component) -> dict[str, nn.Module]:
    """The largest modules all of whose parameters are the connector's."""
    owned = set(map(id, component.parameters.values()))
    found: dict[str, nn.Module] = {}
    for name, module in component.model.named_modules():
        own = list(map(id, module.parameters()))
        if not own or not owned.issuperset(own) or isinstance(module, nn.ModuleList):
            continue
        if not any(name.startswith(f"{root}.") for root in found):
            found[name] = module
    return found


def _gives(module: nn.Module, width: int) -> bool:
    """Whether a module's last matrix ends in that width."""
    matrices = [parameter for parameter in module.parameters() if parameter.ndim >= 2]
    return bool(matrices) and width in matrices[-1].shape


def _checked(flowing: Tensor, width: int) -> Tensor:
    if flowing.shape[-1] != width:
        raise HoldfastError(
            f"the connector gives features of width {flowing.shape[-1]} and the llm takes {width}",
            remedy="use another method, such as lora",
        )
    return flowing


class ClipAdapterOptions(Options):
    """As released."""

    source = "gaopengcuhk/CLIP-Adapter"
    ratio: float = Field(default=0.2, gt=0, le=1, description="share of the new feature in the blend")
    reduction: int = Field(default=4, gt=0, description="by which the width inside is smaller")
    last_relu: bool = Field(default=True, description="a ReLU behind the second matrix as well")


class _Blend(Insert):
    """``ratio relu(U relu(D v)) + (1 - ratio) v``; ``D [d / reduction, d]``, ``U`` likewise; no biases."""

    def __init__(self, width: int, options: ClipAdapterOptions, generator: torch.Generator | None) -> None:
        super().__init__()
        inside = width // options.reduction
        self.down = nn.Linear(width, inside, bias=False)
        self.up = nn.Linear(inside, width, bias=False)
        self.width, self.ratio, self.last = width, options.ratio, options.last_relu
        with torch.no_grad():
            for layer in (self.down, self.up):
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=generator)

    def change(self, flowing: Tensor, read: Tensor) -> Tensor:
        inner = functional.relu(self.down(_checked(flowing, self.width).to(self.down.weight.dtype)))
        new = self.up(inner)
        new = functional.relu(new) if self.last else new
        return self.ratio * new.to(flowing.dtype) + (1 - self.ratio) * flowing


class ClipAdapter(Features):
    """A bottleneck on every visual token behind the connector, blended with the token.

    The paper adapts CLIP's one image feature, which is normalised afterwards; here the blend goes to the llm as it is,
    so that step 0 is not the base.
    """

    card = Card(
        name="clip_adapter",
        paradigm="additive",
        family="adapter",
        summary="visual tokens blended with a bottleneck of theirs",
        paper="arXiv 2110.04544",
        year=2023,
        mergeable=False,
        official_code="gaopengcuhk/CLIP-Adapter",
        extra_inference_cost="two thin matrix products a visual token",
        default_lr=1e-3,
        at="connector",
        checked_against="the formula, over several steps",
    )
    Settings = ClipAdapterOptions

    def build(self, name: str, site: Spot, generator: torch.Generator | None) -> Insert:
        if self.options.reduction > site.width:
            raise HoldfastError(
                f"reduction {self.options.reduction} leaves nothing of the width {site.width}",
                remedy=f"choose at most {site.width}",
            )
        return _Blend(site.width, self.options, generator)


class TaskResOptions(Options):
    """As released."""

    source = "geekyutao/TaskRes"
    alpha: float = Field(default=0.5, gt=0, description="scale of the residual; the paper's, 1 for some data sets")


class _Residual(Insert):
    """``v + alpha x`` with a trained ``x [d]`` that starts at zero."""

    def __init__(self, width: int, alpha: float) -> None:
        super().__init__()
        self.residual = nn.Parameter(torch.zeros(width))
        self.width, self.alpha = width, alpha

    def change(self, flowing: Tensor, read: Tensor) -> Tensor:
        return _checked(flowing, self.width) + (self.alpha * self.residual).to(flowing.dtype)


class TaskRes(Features):
    """A task residual that knows nothing of the input, added to every visual token behind the connector.

    The paper adds one to each class's text feature; an answer in words has no classes, so one residual stands for the
    task. Step 0 is the base.
    """

    card = Card(
        name="taskres",
        paradigm="additive",
        family="adapter",
        summary="one trained vector on every visual token",
        paper="arXiv 2211.10277",
        year=2023,
        mergeable=False,
        official_code="geekyutao/TaskRes",
        extra_inference_cost="one addition a visual token",
        default_lr=2e-3,
        at="connector",
        checked_against="the formula, over several steps",
    )
    Settings = TaskResOptions

    def build(self, name: str, site: Spot, generator: torch.Generator | None) -> Insert:
        return _Residual(site.width, self.options.alpha)

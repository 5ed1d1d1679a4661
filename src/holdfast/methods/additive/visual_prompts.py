"""Prompts of text that know the image: CoCoOp shifts them by it, MaPLe projects them into the vision tower."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.additive.caching import append_layers
from holdfast.methods.additive.front import Pairs
from holdfast.methods.additive.looking import image_marks
from holdfast.methods.additive.prompts import SoftPrompts, Table
from holdfast.methods.additive.tower import TowerPrompts
from holdfast.methods.additive.vpt import tower_width
from holdfast.methods.contract import Artifact, Card, Context, Options
from holdfast.models.anatomy import Component, resolve_anatomy
from holdfast.values import Keywords


class CoCoOpOptions(Options):
    """Length, start and the size of the network."""

    source = "KaiyangZhou/CoOp"
    tokens: int = Field(default=4, gt=0, description="virtual tokens in front")
    reduction: int = Field(default=16, gt=0, description="by which the network is narrower inside than the llm")
    start: Literal["words", "normal"] = Field(default="words", description="words drawn at random, or N(0, 0.02)")


class _Conditional(nn.Module):
    """The prompt ``[tokens, width]``, and the network that makes a shift ``[width]`` of an image."""

    def __init__(self, tokens: int, width: int, inside: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(tokens, width))
        self.narrow, self.widen = nn.Linear(width, inside), nn.Linear(inside, width)
        with torch.no_grad():
            for layer in (self.narrow, self.widen):
                for parameter in layer.parameters():
                    bound = layer.in_features**-0.5
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, image: Tensor, shown: Tensor) -> Tensor:
        """``[rows, tokens, width]`` for mean features ``[rows, width]``; unshifted where nothing is shown."""
        with torch.autocast(image.device.type, enabled=False):
            shift: Tensor = self.widen(torch.relu(self.narrow(image.float())))
            return self.table + (shift * shown[:, None])[:, None]


class CoCoOp(SoftPrompts):
    """``v_m + pi(x)``: every token of the prompt is shifted by a small network of the row's mean visual token.

    The paper's ``x`` is CLIP's image feature; here it is the mean of what the connector gives. Rows without an image
    have the prompt as it is. An image's questions have one prompt, so they share a row. It does not start at the base.
    """

    card = Card(
        name="cocoop",
        paradigm="additive",
        family="prompt",
        summary="a prompt in front, shifted by a network of the image",
        paper="arXiv 2203.05557",
        year=2022,
        mergeable=False,
        official_code="KaiyangZhou/CoOp",
        extra_inference_cost="a pass of the prompt an image, a longer key-value cache",
        default_lr=2e-3,
        checked_against="a longer row of the plain model, over several steps",
    )
    Settings = CoCoOpOptions
    prompt: _Conditional

    def build(self, width: int, context: Context) -> _Conditional:
        made = _Conditional(self.tokens, width, max(1, width // self.options.reduction), context.generator)
        with torch.no_grad():
            if self.options.start == "words" and not made.table.is_meta:
                made.table.copy_(self.drawn(context))
            else:
                made.table.normal_(0, 0.02, generator=context.generator)
        return made

    def switch_on(self) -> None:
        super().switch_on()
        self.marks = image_marks(self.component.model, self.card.name)
        self.handles.append(self.component.model.register_forward_pre_hook(self._look, with_kwargs=True))

    def _look(self, model: nn.Module, args: tuple[Any, ...], kwargs: Keywords) -> None:
        ids = kwargs["input_ids"]
        self.seen = torch.isin(ids, torch.tensor(sorted(self.marks), device=ids.device))

    def write(self, inputs: Keywords) -> Pairs:
        hidden, seen = inputs["inputs_embeds"], self.seen
        count = seen.sum(1)
        mean = (hidden * seen[..., None]).sum(1) / count.clamp(min=1)[:, None]
        return self.run_alone(self.prompt(mean, (count > 0).to(mean.dtype))[None])

    def _written(self, kwargs: Keywords) -> Pairs:
        """While an answer goes on, an image's prompt is kept in the cache, whose rows come and go with it."""
        cache, count = kwargs.get("past_key_values"), len(self.component.layers())
        if cache is None:
            return self.write(kwargs)
        if cache.get_seq_length() == 0:
            for index, (keys, values) in enumerate(self.write(kwargs)):
                cache.layers[append_layers(cache, count, index)].update(keys, values)
        return [(layer.keys, layer.values) for layer in cache.layers[count:]]

    def saved(self) -> Artifact:
        return self._artifact(self.named_trainable())

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.hang(component)
        table, narrow = artifact.tensors["table"], artifact.tensors["narrow.weight"]
        self._check(table)
        self.prompt = _Conditional(table.shape[0], table.shape[1], len(narrow))
        self.prompt.to(next(self.decoder.parameters()).device).requires_grad_(False)
        self.load(artifact.tensors, {})
        self.switch_on()


DEPTH = 9
"""Of the release, in text and image encoders of twelve blocks."""


class MapleOptions(Options):
    """Length and depth."""

    source = "muzairkhattak/multimodal-prompt-learning"
    tokens: int = Field(default=2, gt=0, description="virtual tokens in front of the text and beside an image's")
    depth: int | None = Field(
        default=None, gt=0, description="blocks with tokens of their own; if not given 9, or as many as there are"
    )
    start: Literal["words", "normal"] = Field(default="words", description="of the first block; deeper: N(0, 0.02)")


class _Coupled(nn.Module):
    """Deep prompts ``[depth, tokens, width]``, and a projection a level into the tower's width."""

    def __init__(self, shape: tuple[int, int, int], inside: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(shape))
        self.project = nn.ModuleList(nn.Linear(shape[-1], inside) for _ in range(shape[0]))
        with torch.no_grad():
            self.table.normal_(0, 0.02, generator=generator)
            for parameter in self.project.parameters():
                parameter.uniform_(-(shape[-1] ** -0.5), shape[-1] ** -0.5, generator=generator)

    def forward(self) -> Tensor:
        return self.table

    def visual(self, level: int) -> Tensor:
        """What stands in the tower's block ``level``, ``[tokens, inside]``."""
        with torch.autocast(self.table.device.type, enabled=False):
            projected: Tensor = self.project[level](self.table[level])
            return projected


class _Plain(Table):
    """Prompts of both sides, as they are used."""

    def __init__(self, text: Tensor, visual: Tensor) -> None:
        super().__init__(*text.shape)
        self.beside = nn.Parameter(torch.zeros_like(visual))

    def visual(self, level: int) -> Tensor:
        """As of :class:`_Coupled`."""
        return self.beside[level]


class Maple(SoftPrompts):
    """Deep prompts in the llm, and in the tower what a linear layer a depth makes of them; both learn together.

    Behind the last depth prompts flow on from block to block. The tower changes with it, so its features are not kept.
    It does not start at the base.
    """

    card = Card(
        name="maple",
        paradigm="additive",
        family="prompt",
        summary="deep prompts in the llm, projected into the vision tower",
        paper="arXiv 2210.03117",
        year=2023,
        mergeable=False,
        official_code="muzairkhattak/multimodal-prompt-learning",
        extra_inference_cost="a longer key-value cache, a few more tokens an image",
        default_lr=3.5e-3,
        checked_against="longer rows in both, over several steps",
    )
    Settings = MapleOptions
    prompt: _Coupled | _Plain
    reaches = frozenset({"vision"})

    def hang(self, component: Component) -> None:
        super().hang(component)
        self.vision = resolve_anatomy(component.model).vision

    def build(self, width: int, context: Context) -> _Coupled:
        most = min(len(self.component.layers()), len(self.vision.layers()))
        depth = self.options.depth or min(DEPTH, most)
        if depth > most:
            raise HoldfastError(f"depth {depth} is above the {most} blocks of llm and tower", remedy="lower depth")
        made = _Coupled((depth, self.tokens, width), tower_width(self.vision), context.generator)
        if self.options.start == "words" and not made.table.is_meta:
            with torch.no_grad():
                made.table[0] = self.drawn(context)
        return made

    def switch_on(self) -> None:
        super().switch_on()
        self.tower = TowerPrompts(self.vision, self._visual, self.card.name)

    def switch_off(self) -> None:
        self.tower.take_off()
        super().switch_off()

    def _visual(self, level: int) -> Tensor | None:
        return self.prompt.visual(level) if level < len(self.prompt.table) else None

    def saved(self) -> Artifact:
        visual = torch.stack([self.prompt.visual(level) for level in range(len(self.prompt.table))])
        return self._artifact({"table": self.prompt.table, "beside": visual})

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.hang(component)
        table, beside = artifact.tensors["table"], artifact.tensors["beside"]
        self._check(table)
        if beside.shape[-1] != tower_width(self.vision):
            raise HoldfastError(
                f"the artifact holds prompts of width {beside.shape[-1]} for another vision tower",
                remedy="load it on the model it was trained on",
            )
        self.prompt = _Plain(table, beside)
        self.prompt.to(next(self.decoder.parameters()).device).requires_grad_(False)
        self.load(artifact.tensors, {})
        self.switch_on()

"""Steering of hidden states at some tokens: LoReFT on the prompt, MoReS on the image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from holdfast.errors import HoldfastError
from holdfast.methods.additive.front import ROWS
from holdfast.methods.additive.looking import image_marks
from holdfast.methods.contract import Card, Options
from holdfast.methods.inserted import Insert, Inserted, Spot
from holdfast.methods.selective.dense import blocks_in_scope
from holdfast.models.anatomy import Component
from holdfast.models.batch import ENDS, WANTS_ENDS
from holdfast.values import Keywords

_PLACES = r"(?:f(\d+))?\+?(?:l(\d+))?"


class LoReftOptions(Options):
    """Rank and places."""

    source = "stanfordnlp/pyreft"
    r: int = Field(default=4, gt=0, description="rank")
    positions: str = Field(
        default="f7+l7",
        pattern=r"^(all|f\d+|l\d+|f\d+\+l\d+)$",
        examples=["f7+l7", "l7", "all"],
        description="first and last tokens, or all",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on what is added, never on the hidden state")
    layers: str | tuple[int, ...] | None = Field(default=None, description="'last:2', 'first:4', or indices")


@dataclass
class _Chosen:
    """Which tokens of the batch at hand are steered, ``[rows, length]``; None: none is."""

    mask: Tensor | None = None


class _Steer(Insert):
    """``h + (W h + b - R h) R`` at the chosen tokens; ``R [r, d]`` has orthonormal rows, by QR of a trained matrix."""

    def __init__(self, width: int, options: LoReftOptions, chosen: _Chosen, generator: torch.Generator | None) -> None:
        super().__init__()
        self.rotate = nn.Parameter(torch.empty(width, options.r))
        self.source = nn.Linear(width, options.r)
        self.drop, self.chosen = nn.Dropout(options.dropout), chosen
        with torch.no_grad():
            self.rotate.normal_(generator=generator)
            for tensor in (self.source.weight, self.source.bias):
                tensor.uniform_(-(width**-0.5), width**-0.5, generator=generator)

    def rows(self) -> Tensor:
        """``R``: the sign of each row is the trained matrix's own, as QR leaves it open."""
        basis, upper = torch.linalg.qr(self.rotate)
        rows: Tensor = (basis * upper.diagonal().sign()).T
        return rows

    def change(self, flowing: Tensor, read: Tensor) -> Tensor:
        mask = self.chosen.mask
        if mask is None:
            return flowing
        if flowing.shape[:2] != mask.shape:
            raise HoldfastError(
                f"a layer works on {tuple(flowing.shape[:2])} tokens and the model was given {tuple(mask.shape)}",
                remedy="use another method, such as lora",
            )
        with torch.autocast(flowing.device.type, enabled=False):
            hidden, rows = flowing[mask].float(), self.rows()
            added = (self.source(hidden) - hidden @ rows.T) @ rows
        steered = flowing.clone()
        steered[mask] = (hidden + self.drop(added)).to(flowing.dtype)
        return steered


class LoReft(Inserted):
    """Low-rank edits of the hidden state behind each block, at the first and the last tokens of the prompt.

    Which tokens are last depends on where the question ends, so questions about an image are not put into one row. In
    pyreft the dropout falls on the whole hidden state; here it falls on the edit.
    """

    card = Card(
        name="loreft",
        paradigm="additive",
        family="steering",
        summary="h + Rᵀ(W h + b - R h) at the ends of the prompt",
        paper="arXiv 2404.03592",
        year=2024,
        mergeable=False,
        official_code="stanfordnlp/pyreft",
        extra_inference_cost="thin matrix products at some tokens of the prompt",
        default_lr=9e-4,
        checked_against="the formula, over several steps",
    )
    Settings: ClassVar[type[Options]] = LoReftOptions
    per_token = False

    def ground(self, component: Component) -> set[str]:
        return super().ground(component) | {ROWS}

    def sites(self, component: Component) -> dict[str, Spot]:
        if component.name != "llm":
            raise HoldfastError(
                f"method '{self.card.name}' works on the llm only, not on '{component.name}'",
                remedy="write it under tune.llm",
            )
        model: Any = component.model
        width = int(model.config.get_text_config().hidden_size)
        if self.options.r > width:
            raise HoldfastError(
                f"rank {self.options.r} is above the width {width}", remedy=f"choose r of at most {width}"
            )
        blocks = blocks_in_scope(component, self.options.layers)
        return {name: Spot(block, width, "behind") for name, block in blocks.items()}

    def build(self, name: str, site: Spot, generator: torch.Generator | None) -> Insert:
        return _Steer(site.width, self.options, self.chosen, generator)

    def begin(self, component: Component) -> list[RemovableHandle]:
        self.chosen = _Chosen()
        object.__setattr__(component.model, WANTS_ENDS, True)
        return [component.model.register_forward_pre_hook(self._look, with_kwargs=True)]

    def take_off(self) -> None:
        super().take_off()
        if hasattr(self.component.model, WANTS_ENDS):
            object.__delattr__(self.component.model, WANTS_ENDS)

    def _look(self, model: nn.Module, args: tuple[Any, ...], kwargs: Keywords) -> tuple[tuple[Any, ...], Keywords]:
        ends = kwargs.pop(ENDS, None)
        cache = kwargs.get("past_key_values")
        going_on = cache is not None and cache.get_seq_length() > 0
        self.chosen.mask = None if going_on else self.choose(kwargs, ends)
        return args, kwargs

    def choose(self, inputs: Keywords, ends: Tensor | None) -> Tensor:
        """The steered tokens of a prompt, ``[rows, length]``."""
        kept = inputs.get("attention_mask")
        real = torch.ones_like(inputs["input_ids"], dtype=torch.bool) if kept is None else kept.bool()
        if ends is not None:
            real = real & (ends.flip(1).cumsum(1).flip(1) > 0)
        return self.at(real)

    def at(self, real: Tensor) -> Tensor:
        """Of the true tokens of each row the first and the last few."""
        if self.options.positions == "all":
            return real
        matched = re.fullmatch(_PLACES, self.options.positions)
        assert matched is not None, "the options were checked"
        first, last = (int(part or 0) for part in matched.groups())
        place = real.cumsum(1)
        return real & ((place <= first) | (place > place[:, -1:] - last))


class MoresOptions(LoReftOptions):
    """As released."""

    source = "bibisbar/LLaVA-Steering"
    positions: str = Field(
        default="f4+l5",
        pattern=r"^(all|f\d+|l\d+|f\d+\+l\d+)$",
        examples=["f4+l5", "l5", "all"],
        description="first and last visual tokens, or all",
    )
    dropout: float = Field(default=0.05, ge=0, lt=1, description="on what is added, never on the hidden state")


class Mores(LoReft):
    """The same edit at visual tokens only, so that text is never steered. Questions about an image share its tokens."""

    card = Card(
        name="mores",
        paradigm="additive",
        family="steering",
        summary="h + Rᵀ(W h + b - R h) at visual tokens",
        paper="arXiv 2412.12359",
        year=2025,
        mergeable=False,
        official_code="bibisbar/LLaVA-Steering",
        extra_inference_cost="thin matrix products at some visual tokens",
        default_lr=2e-4,
        checked_against="the formula, over several steps",
    )
    Settings = MoresOptions
    per_token = True

    def begin(self, component: Component) -> list[RemovableHandle]:
        self.marks = image_marks(component.model, self.card.name)
        self.chosen = _Chosen()
        return [component.model.register_forward_pre_hook(self._look, with_kwargs=True)]

    def choose(self, inputs: Keywords, ends: Tensor | None) -> Tensor:
        ids = inputs["input_ids"]
        return self.at(torch.isin(ids, torch.tensor(sorted(self.marks), device=ids.device)))

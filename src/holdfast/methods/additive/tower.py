"""Prompt tokens inside the vision tower: beside an image's own tokens in each block, and gone behind it.

A block is given ``[images, tokens, width]``, or all images in one row ``[tokens, width]`` with their ends in
``cu_seqlens`` (Qwen-VL, GLM-4V). Prompts are put behind each image's tokens and taken off what the block gives, so that
whoever reads hidden states sees the image alone. Where positions are rotations, prompts are not rotated.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from holdfast.errors import HoldfastError
from holdfast.models.anatomy import Component
from holdfast.values import Keywords

_KNOWN = {
    "hidden_states",
    "attention_mask",
    "causal_attention_mask",
    "cu_seqlens",
    "max_seqlen",
    "position_embeddings",
    "rotary_pos_emb",
    "output_attentions",
    "output_hidden_states",
    "kwargs",
}
"""What a block may be given, for prompts to be put beside it rightly."""


class TowerPrompts:
    """Hooks of prompts at every block of a tower.

    Args:
        vision: The tower.
        prompts: ``prompts(level)`` gives block ``level``'s own prompts ``[tokens, width]``; None: what the block before
            made of its prompts goes on.
        method: Whose they are, for messages.
    """

    def __init__(self, vision: Component, prompts: Callable[[int], Tensor | None], method: str) -> None:
        self.prompts, self.method = prompts, method
        self.asleep = False
        self.blocks = [block for _, block in vision.layers()]
        self.flowing: dict[int, Tensor] = {}
        self.handles: list[RemovableHandle] = []
        refused = next(
            (why for block in self.blocks if (why := _obstacle(block))), None if self.blocks else "no blocks"
        )
        if refused is not None:
            raise HoldfastError(
                f"method '{method}' cannot put prompts into the tower of {type(vision.model).__name__}: {refused}",
                remedy="use another method, such as lora",
            )
        for level, block in enumerate(self.blocks):
            self.handles.append(block.register_forward_pre_hook(self._putting(level), with_kwargs=True))
            # First of all: whoever records what a block gives is to record the image alone.
            self.handles.append(block.register_forward_hook(self._taking(level), with_kwargs=True, prepend=True))

    def take_off(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()
        self.flowing.clear()

    def _own(self, level: int, images: int) -> Tensor:
        """Prompts of a block, ``[images, tokens, width]``."""
        own = self.prompts(level)
        if own is not None:
            return own[None].expand(images, -1, -1)
        if self.flowing[level].shape[0] != images:
            raise HoldfastError(
                f"method '{self.method}' has prompts that flow from block to block, and this tower divides an image "
                "into other windows in each",
                remedy="give every block prompts of its own",
            )
        return self.flowing[level]

    def _putting(self, level: int) -> Callable[..., Any]:
        def put(block: nn.Module, args: tuple[Any, ...], kwargs: Keywords) -> Any:
            if self.asleep:
                return None
            hidden = args[0] if args else kwargs["hidden_states"]
            ends = kwargs.get("cu_seqlens")
            if hidden.ndim == 2 and ends is not None:
                own = self._own(level, len(ends) - 1).to(hidden.dtype)
                joined = _packed(hidden, own, ends)
                more = {
                    "cu_seqlens": ends + own.shape[1] * torch.arange(len(ends), device=ends.device, dtype=ends.dtype)
                }
                if kwargs.get("max_seqlen") is not None:
                    more["max_seqlen"] = kwargs["max_seqlen"] + own.shape[1]
                rotations = kwargs.get("position_embeddings")
                if rotations is not None:
                    more["position_embeddings"] = tuple(
                        _packed(part, _still(part, own, first=not index), ends) for index, part in enumerate(rotations)
                    )
                kwargs = kwargs | more
            else:
                own = self._own(level, hidden.shape[0]).to(hidden.dtype)
                joined = torch.cat([hidden, own], dim=1)
                length, count = hidden.shape[1], own.shape[1]
                args = tuple(_widened(value, length, count) for value in args)
                kwargs = {name: _widened(value, length, count) for name, value in kwargs.items()}
            return ((joined, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": joined})

        return put

    def _taking(self, level: int) -> Callable[..., Any]:
        def take(block: nn.Module, args: tuple[Any, ...], kwargs: Keywords, output: Any) -> Any:
            if self.asleep:
                return output
            hidden = output[0] if isinstance(output, tuple) else output
            ends = kwargs.get("cu_seqlens")
            if hidden.ndim == 2 and ends is not None:
                count = self._count(level)
                pieces = [hidden[a:b] for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
                image = torch.cat([piece[:-count] for piece in pieces])
                self.flowing[level + 1] = torch.stack([piece[-count:] for piece in pieces])
            else:
                count = self._count(level)
                image, self.flowing[level + 1] = hidden[:, :-count], hidden[:, -count:]
            return (image, *output[1:]) if isinstance(output, tuple) else image

        return take

    def _count(self, level: int) -> int:
        own = self.prompts(level)
        return int((self.flowing[level][0] if own is None else own).shape[0])


def _obstacle(block: nn.Module) -> str | None:
    """Why prompts cannot stand beside what a block is given, or nothing."""
    takes = inspect.signature(block.forward).parameters
    odd = sorted(set(takes) - _KNOWN)
    if odd or "hidden_states" not in takes:
        return f"its blocks take '{(odd or ['other things'])[0]}'"
    if any(isinstance(module, nn.Conv2d) for module in block.modules()) or "rel_pos" in str(
        dict(block.named_parameters())
    ):
        return "its blocks look at places in a grid"
    return None


def _packed(rows: Tensor, own: Tensor, ends: Tensor) -> Tensor:
    """``rows [tokens, ...]`` with an image's ``own [images, prompts, ...]`` behind the image's."""
    places = ends.tolist()
    pieces = zip(places[:-1], places[1:], own, strict=True)
    return torch.cat([part for a, b, prompt in pieces for part in (rows[a:b], prompt)])


def _still(rotation: Tensor, own: Tensor, *, first: bool) -> Tensor:
    """Cosines or sines that rotate nothing, for the prompts ``own [images, prompts, width]``."""
    return rotation.new_full((own.shape[0], own.shape[1], rotation.shape[-1]), 1.0 if first else 0.0)


def _widened(value: Any, length: int, count: int) -> Any:
    """A mask, or the pair of rotations, of ``length`` tokens with ``count`` more; anything else as it is."""
    if isinstance(value, tuple) and value and all(isinstance(one, Tensor) for one in value):
        pad = [one.new_full((*one.shape[:-2], count, one.shape[-1]), 0.0 if i else 1.0) for i, one in enumerate(value)]
        return tuple(torch.cat([one, more], dim=-2) for one, more in zip(value, pad, strict=True))
    if not isinstance(value, Tensor) or value.shape[-1] != length or value.ndim not in (2, 4):
        return value
    seen = 0.0 if value.is_floating_point() else True
    if value.ndim == 2:
        return nn.functional.pad(value, (0, count), value=1)
    value = nn.functional.pad(value, (0, count), value=seen)
    # What a prompt sees: what its image's last token sees.
    return torch.cat([value, value[..., -1:, :].expand(*value.shape[:-2], count, -1)], dim=-2)

"""The library's attention functions with keys and values of one's own in front."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError

MARK = "_holdfast_prefix"
"""The attribute of an attention module that says who works at it: ``(owner, index of the layer)``."""


class Joins(Protocol):
    """Has something to say at the attention of its layers."""

    def join(self, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``[batch, heads, length, width]`` of a layer, with those in front that are its own."""

    def beside(self, index: int, query: Tensor, output: Tensor, scaling: float) -> Tensor:
        """What takes the place of the attention's output ``[batch, length, heads, width]``.

        Args:
            index: Of the layer.
            query: ``[batch, heads, length, width]``, rotated.
            output: What the attention gives.
            scaling: Of the scores.
        """


def with_prefix(plain: str) -> str:
    """The name under which the library finds attention ``plain`` with prefixes; registered once."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if plain == "flex_attention":
        raise HoldfastError("prompts in front do not run under flex attention", remedy="load the model with sdpa")
    name = f"{plain}_with_prefix"

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *rest: Any,
        **options: Any,
    ) -> Any:
        inner: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get(plain) or _eager(module)
        owner: tuple[Joins, int] | None = getattr(module, MARK, None)
        if owner is None:
            return inner(module, query, key, value, attention_mask, *rest, **options)
        method, index = owner
        length = key.shape[2]
        key, value = method.join(index, key, value)
        if key.shape[2] > length:
            attention_mask = _widen(attention_mask, query, length, key.shape[2] - length, "flash" in plain)
        output, weights = inner(module, query, key, value, attention_mask, *rest, **options)
        scaling = options.get("scaling")
        return method.beside(index, query, output, query.shape[-1] ** -0.5 if scaling is None else scaling), weights

    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[plain])
    return name


def _eager(module: nn.Module) -> Callable[..., Any]:
    found: Callable[..., Any] = vars(sys.modules[type(module).__module__])["eager_attention_forward"]
    return found


def _widen(mask: Tensor | None, query: Tensor, length: int, count: int, flash: bool) -> Tensor | None:
    """The mask with ``count`` columns in front that everyone sees; ``length`` is the number of keys without them."""
    if mask is not None:
        return nn.functional.pad(mask, (count, 0), value=0.0 if mask.is_floating_point() else 1)
    rows = query.shape[2]
    if flash or rows == 1:
        return None
    # Left out because it was plainly causal; with more keys than queries that has to be said.
    causal = torch.ones(rows, length, dtype=torch.bool, device=query.device).tril(length - rows)
    return nn.functional.pad(causal, (count, 0), value=True)[None, None]

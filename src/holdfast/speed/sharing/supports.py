"""Which models can share an image's tokens between questions, and the reason where one cannot."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from holdfast.models.chat import ChatProcessor
from holdfast.speed.decision import Decision

MASKABLE = ("sdpa", "eager")
"""Attention implementations that take a mask ``[rows, 1, queries, keys]``."""

_RUNNING = ("linear_attention", "conv", "mamba", "recurrent", "linear")
_CROSS = ("cross_attention_mask", "image_attention_mask", "image_embeds_position_mask", "aspect_ratio_ids")
_QUESTION = ("qformer_input_ids",)


WHOLE_ROWS = "_holdfast_whole_rows"
"""The attribute of a model to which a method was attached that looks at whole rows: the method's name."""


def supports(model: nn.Module, chat: ChatProcessor | None = None, *, masked: bool = True) -> Decision:
    """Whether questions about one image can become one row of this model, as far as it can be read off it.

    :func:`holdfast.speed.sharing.verify.verify_sharing` then compares numbers.

    Args:
        model: The model.
        chat: Its processor.
        masked: By a mask; off: rows that share nothing stand behind each other, told by where each begins.
    """
    why = _obstacle(model, chat, masked=masked)
    return Decision(why is None, why or "its llm looks back only, and its attention takes a mask")


def _obstacle(model: nn.Module, chat: ChatProcessor | None, *, masked: bool) -> str | None:
    config: Any = getattr(model, "config", None)
    text = config.get_text_config()
    takes = inspect.signature(model.forward).parameters
    name = type(model).__name__
    attention = str(text._attn_implementation or "eager").removesuffix("_with_prefix").removesuffix("_shared")
    whole = getattr(model, WHOLE_ROWS, None)
    if whole is not None:
        return f"method '{whole}' looks at whole rows, so a question's change would depend on its neighbours"
    if masked and attention not in MASKABLE:
        return f"attention '{attention}' takes no block mask; load the model with sdpa"
    if "position_ids" not in takes:
        return f"{name} counts positions by itself"
    if "token_type_ids" in takes:
        return f"in {name} image tokens also see what stands behind them, so a prefix is not the same for all questions"
    if any(argument in takes for argument in _CROSS):
        return f"{name} reads images by cross-attention, so there are no image tokens to share"
    if any(argument in takes for argument in _QUESTION):
        return f"the image features of {name} depend on the question"
    layers = set(getattr(text, "layer_types", None) or ())
    running = sorted(kind for kind in layers if any(word in kind for word in _RUNNING))
    if running or any("mamba" in type(module).__name__.lower() for module in model.modules()):
        return f"the llm of {name} carries a running state ({', '.join(running) or 'mamba'}) from branch to branch"
    if chat is not None and not chat.image_token_ids():
        return f"the processor of {name} does not say which tokens stand for an image"
    return None


def longest(model: nn.Module) -> int | None:
    """Tokens that a question with its image may take where layers look back over a window only; None: no bound.

    Within the window such a layer sees everything, as in a row of its own.
    """
    text = model.config.get_text_config()  # type: ignore[union-attr, operator]
    layers = set(getattr(text, "layer_types", None) or ("sliding", "chunked"))
    bounds = [
        getattr(text, attribute, None)
        for attribute, kind in (("sliding_window", "sliding"), ("attention_chunk_size", "chunked"))
        if any(kind in layer for layer in layers)
    ]
    if getattr(text, "use_sliding_window", True) is False:
        bounds = bounds[1:]
    found = [int(bound) for bound in bounds if bound]
    return min(found) if found else None

"""What methods must know of a batch beyond the hidden states: which of its tokens stand for an image."""

from __future__ import annotations

from typing import Any

from torch import nn

from holdfast.errors import HoldfastError


def image_marks(model: nn.Module, method: str) -> set[int]:
    """Ids of the tokens in whose places the model puts image features.

    Raises:
        HoldfastError: The model has none: it reads images by cross-attention.
    """
    config: Any = model.config
    given = [getattr(config, name, None) for name in ("image_token_id", "image_token_index")]
    found = {int(mark) for mark in given if mark is not None}
    if not found:
        raise HoldfastError(
            f"method '{method}' works at image tokens, and {type(model).__name__} has none",
            remedy="use another method, such as lora",
        )
    return found

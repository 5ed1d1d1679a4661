"""Places of one's own in the key-value cache, so that what is kept there comes and goes with the cache's rows."""

from __future__ import annotations

from typing import Any


def append_layers(cache: Any, blocks: int, index: int, *, like: int | None = None) -> int:
    """The number of a cache layer behind those of the model's ``blocks``, made where it is not there yet.

    Args:
        cache: The library's.
        blocks: How many layers are the model's own.
        index: Which of one's own.
        like: The model's layer whose kind it is to be, as sliding windows are of another; default: keeps everything.
    """
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    while cache.layer_class_to_replicate is not None and len(cache.layers) < blocks:
        cache.layers.append(cache.layer_class_to_replicate())
    while len(cache.layers) <= blocks + index:
        window = None if like is None else getattr(cache.layers[like], "sliding_window", None)
        sliding = window is not None and isinstance(cache.layers[like or 0], DynamicSlidingWindowLayer)
        cache.layers.append(DynamicSlidingWindowLayer(sliding_window=window) if sliding else DynamicLayer())
    return blocks + index

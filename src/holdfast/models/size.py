"""Whether a model can fit at all, from the numbers of its configuration, before anything of it is built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from holdfast.errors import HoldfastError

MOST_LAYERS = 10_000
"""More are refused whatever their width: building them takes minutes without an answer. Known models have up to 200."""


def least_values(config: Any) -> int:
    """Weights that a model of this configuration has at the very least: one embedding and one square matrix a layer."""
    found = 0
    for part in _parts(config):
        width, layers, words = (_number(part, name) for name in ("hidden_size", "num_hidden_layers", "vocab_size"))
        found += words * width + layers * width * width
    return found


def check_size(config: Any, name: str, *, width: int, memory: int | None) -> None:
    """Refuse what cannot fit.

    Args:
        config: Of the model.
        name: Of the model, for the message.
        width: Bytes of one weight.
        memory: Bytes that the device has; None where weights are not made.

    Raises:
        HoldfastError: More layers than can be built, or more weights than the memory holds.
    """
    remedy = "choose a smaller model or a larger machine, or check config.json"
    layers = max((_number(part, "num_hidden_layers") for part in _parts(config)), default=0)
    if layers > MOST_LAYERS:
        raise HoldfastError(f"model '{name}' has {layers:,} layers, and {MOST_LAYERS:,} can be built", remedy=remedy)
    need = least_values(config) * width
    if memory is not None and need > memory:
        problem = (
            f"model '{name}' needs at least {need / 1e9:,.0f} GB for its weights; there are {memory / 1e9:,.0f} GB"
        )
        raise HoldfastError(problem, remedy=remedy)


def memory_of(device: str) -> int | None:
    """Bytes of a device's memory; None where it does not tell."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _parts(config: Any) -> Iterator[Any]:
    """The configuration and those inside it."""
    yield config
    for value in vars(config).values():
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            yield value


def _number(part: Any, name: str) -> int:
    value = vars(part).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

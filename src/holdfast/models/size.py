"""Whether a model can fit at all, from the numbers of its configuration, before anything of it is built.

Numbers are read from ``config.json`` as it stands, for transformers may already make a list as long as the layers out
of it, and once more from the configuration with its defaults.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.errors import HoldfastError

MOST_VALUES = 10**13
"""Weights beyond which nothing is planned either; the largest known models have a fifth of that."""

_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "depth", "encoder_layers", "decoder_layers")
_WIDTHS = ("embed_dim", "hidden_size", "d_model", "n_embd")
"""Names of a part's own width; Qwen's vision parts call the llm's width ``hidden_size`` beside their own."""

_MOST = (
    (_LAYERS, 10_000),
    (("num_experts", "num_local_experts", "n_routed_experts"), 10_000),
    (_WIDTHS, 500_000),
    (("vocab_size",), 100_000_000),
)
"""What is refused whatever the rest says: building it, even without values, takes minutes without an answer. Known
models have up to 200 layers, 512 experts, a width of 20,000 and 300,000 words."""

_PLACED = ("clip", "siglip")
"""Vision parts whose positions are trained: one row a patch."""


def least_values(config: Any) -> int:
    """Weights that a model of this configuration has at the very least.

    Args:
        config: Of transformers, or what stands in ``config.json``.

    Returns:
        The embedding, one matrix of the attention and one of the MLP a layer, the positions of CLIP and SigLIP, and
        LLaVA's square connector.
    """
    found = 0
    for part in _parts(config):
        width = _width(part)
        layers = max(_number(part, name) for name in _LAYERS)
        attention = _number(part, "num_attention_heads") * _number(part, "head_dim") or width
        inner = min(width, attention) + _number(part, "intermediate_size")
        found += width * (_number(part, "vocab_size") + layers * inner)
        kind = str(part.get("model_type", ""))
        if kind.startswith(_PLACED) and (patch := _number(part, "patch_size")):
            found += (_number(part, "image_size") // patch) ** 2 * width
        if kind.startswith("llava") and (text := part.get("text_config")):
            found += _width(text if isinstance(text, Mapping) else vars(text)) ** 2
    return found


def check_size(config: Any, name: str, *, width: int, memory: int | None, bits: int | None = None) -> None:
    """Refuse what cannot fit.

    Args:
        config: Of transformers, or what stands in ``config.json``.
        name: Of the model, for the message.
        width: Bytes of one weight.
        memory: Bytes that the device has; None where weights are not made.
        bits: Of a weight that is quantised while it is loaded; others are counted as if they were, too.

    Raises:
        HoldfastError: A number beyond what can be built, or more weights than the memory holds.
    """
    parts = list(_parts(config))
    values = least_values(config)
    least = values * width if bits is None else values * bits // 8
    if any(part.get("quantization_config") for part in parts):
        least = values // 8  # one bit a weight: nothing is known of the form in which they are kept
    has = "" if memory is None else f"; there are {_size(memory)}"
    need = f"needs at least {_size(least)} for its weights{has}"
    remedy = "choose a smaller model or a larger machine, or check config.json"
    for names, most in _MOST:
        for key in names:
            if (count := max(_number(part, key) for part in parts)) > most:
                problem = f"model '{name}' has {key} {count:,}, where {most:,} is the most that is built; it {need}"
                raise HoldfastError(problem, remedy=remedy)
    if memory is not None and least > memory:
        raise HoldfastError(f"model '{name}' {need}", remedy=remedy)
    if values > MOST_VALUES:
        raise HoldfastError(f"model '{name}' {need}, more than any machine has", remedy=remedy)


def memory_of(device: str) -> int | None:
    """Bytes of a device's memory; None where it does not tell."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _parts(config: Any) -> Iterator[Mapping[str, Any]]:
    """The fields of the configuration and of those inside it."""
    fields = config if isinstance(config, Mapping) else vars(config)
    yield fields
    for value in fields.values():
        if isinstance(value, Mapping) or (hasattr(value, "model_type") and hasattr(value, "to_dict")):
            yield from _parts(value)


def _width(part: Mapping[str, Any]) -> int:
    return next((size for name in _WIDTHS if (size := _number(part, name))), 0)


def _number(part: Mapping[str, Any], name: str) -> int:
    value = part.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _size(count: int) -> str:
    return f"{count / 1e9:,.0f} GB" if count >= 10**9 else f"{count / 1e6:,.1f} MB"

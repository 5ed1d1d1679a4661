"""The parts of a pocket model of either architecture under one set of names, for the stages that train them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from holdfast.pocket.tokens import BEGIN, IMAGE, IMAGE_TOKENS, vocabulary

FAKE, GLOBAL, END_OF_UTTERANCE = range(len(vocabulary()), len(vocabulary()) + 3)
"""Ids of the tokens that Idefics3's processor writes around an image, behind all others."""

LLAVA_PREFIX = (BEGIN, *[IMAGE] * IMAGE_TOKENS)
"""What every row begins with: 17 tokens."""

IDEFICS_PREFIX = (BEGIN, FAKE, GLOBAL, *[IMAGE] * IMAGE_TOKENS, FAKE)
"""The same as Idefics3's processor writes it: 20 tokens."""


@dataclass(frozen=True)
class Parts:
    """The modules of one model, and what its rows begin with."""

    vision: Any
    connector: Any
    decoder: Any
    prefix: tuple[int, ...]


def parts_of(model: Any) -> Parts:
    """The parts of a LLaVA or an Idefics3."""
    inner = model.model
    if hasattr(inner, "text_model"):
        return Parts(inner.vision_model, inner.connector, inner.text_model, IDEFICS_PREFIX)
    return Parts(inner.vision_tower, inner.multi_modal_projector, inner.language_model, LLAVA_PREFIX)


def vision_features(model: Any, pixels: Tensor) -> Tensor:
    """What the model's connector is given for pictures ``[n, 3, 32, 32]``: ``[n, 16, 96]``.

    LLaVA with ``vision_feature_layer`` -1 takes ``hidden_states[-1]``, before the tower's last norm, and not its
    ``last_hidden_state``: the two differ, and a cache of the wrong one trains on inputs that are never seen again.
    Idefics3 takes ``last_hidden_state``.
    """
    vision = parts_of(model).vision
    if hasattr(model.model, "text_model"):
        side = pixels.shape[-1] // vision.config.patch_size
        seen = torch.ones(len(pixels), side, side, dtype=torch.bool)
        last: Tensor = vision(pixel_values=pixels, patch_attention_mask=seen).last_hidden_state
        return last
    output = vision(pixel_values=pixels, output_hidden_states=True)
    features: Tensor = output.hidden_states[model.config.vision_feature_layer]
    return features

"""Compare the cached path with the plain one on one batch; a speed-up that cannot show this is refused."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.speed.decision import NotPossible
from holdfast.speed.features.extract import evaluating
from holdfast.speed.features.files import FeatureRecord
from holdfast.speed.features.images import CachedImages
from holdfast.speed.features.tap import without_pixels

EXACT = 1e-5
"""Largest difference of logits in float32, as a share of the largest logit."""

LOOSE = 0.05
"""The same in half precision, where kernels round differently for one image and for several."""

LAST = 64
"""Positions of a row that are compared: behind the images, and few, because a vocabulary is large."""


def verify(model: nn.Module, batch: Mapping[str, Tensor], cached: CachedImages) -> None:
    """Run ``batch`` with pixels, with features, and with other features.

    Raises:
        NotPossible: Features give other logits than pixels, or what the features say makes no difference.
    """
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    kept = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()[:, -LAST:]
    takes = "logits_to_keep" in inspect.signature(type(model).forward).parameters
    few = {"logits_to_keep": kept.shape[1]} if takes else {}

    def logits(**more: Any) -> Tensor:
        found: Tensor = model(**more, **few).logits
        return found[:, -kept.shape[1] :][kept].float()

    with evaluating(model), torch.no_grad():
        plain = logits(**inputs)
        try:
            given = logits(**without_pixels(inputs), **cached.inputs(model))
            other = logits(**without_pixels(inputs), **_changed(cached).inputs(model))
        except HoldfastError:
            raise
        except Exception as error:  # what the family's own code makes of features may fail in any way
            raise NotPossible(f"its code cannot use stored features ({type(error).__name__}: {error})") from error
    off, effect, scale = (float(value.abs().max()) for value in (given - plain, given - other, plain))
    half = any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters()) or torch.is_autocast_enabled(
        inputs["input_ids"].device.type
    )
    if effect <= EXACT * scale:
        raise NotPossible("its forward does not look at stored features")
    if not off <= (LOOSE if half else EXACT) * scale:  # so written that a NaN is refused
        raise NotPossible(f"stored features change its logits by {off / max(scale, 1e-30):.1e} of the largest")


def _changed(cached: CachedImages) -> CachedImages:
    """The same features in shape, with other values."""

    def change(record: FeatureRecord) -> FeatureRecord:
        return FeatureRecord(
            record.spec,
            tuple(
                -tensor.flip(0) if tensor.ndim and tensor.is_floating_point() else tensor for tensor in record.tensors
            ),
        )

    changed = {id(record): change(record) for record in cached.records}
    return replace(cached, records=tuple(changed[id(record)] for record in cached.records))

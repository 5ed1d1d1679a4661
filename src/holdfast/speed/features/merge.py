"""Features of several image sets as those of one batch, in the containers that the family uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from holdfast.speed.decision import NotPossible
from holdfast.values import Keywords

_SAME_FOR_ALL = ("visual_indicator_features",)
"""Ovis2 hands on embeddings of special tokens beside those of the images."""

_LAYERS = ("deepstack_features",)
"""A list of layers, each with its features image by image."""


def merged(parts: Sequence[Any]) -> Any:
    """One output object of the parts' class.

    Raises:
        NotPossible: The parts cannot be joined, as images of different sizes in a family that keeps one tensor.
    """
    if len(parts) == 1:
        return parts[0]
    found: Keywords = {}
    for field in fields(parts[0]):
        values = [getattr(part, field.name) for part in parts]
        if field.name in _SAME_FOR_ALL or all(value is None for value in values):
            found[field.name] = values[0]
        elif field.name in _LAYERS:
            found[field.name] = type(values[0])(_layer(layer) for layer in zip(*values, strict=True))
        else:
            found[field.name] = _joined(values)
    return type(parts[0])(**found)


def _layer(values: Sequence[Any]) -> Any:
    """One layer of every part; Granite 4 Vision writes it as (number of the layer, features)."""
    if isinstance(values[0], tuple) and values[0] and isinstance(values[0][0], int):
        return (values[0][0], *(_joined(rest) for rest in zip(*(value[1:] for value in values), strict=True)))
    return _joined(values)


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    try:
        if isinstance(first, Tensor):
            return torch.cat(list(values), dim=0)
        if isinstance(first, list | tuple):
            return type(first)(item for value in values for item in value)
    except (RuntimeError, TypeError) as error:
        raise NotPossible("its features of different images do not fit into one batch") from error
    raise NotPossible(f"its features hold a {type(first).__name__}, which cannot be joined")

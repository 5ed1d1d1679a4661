"""How many entries a sparse method selects: its ratio says so before anybody has seen a value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from holdfast.errors import HoldfastError
from holdfast.methods.selective.scores import share
from holdfast.methods.selective.sparse import Sparse
from holdfast.models.anatomy import Component

OVERALL = ("fish_mask", "child_tuning_d", "fish_dip", "lt_sft")
"""Methods that rank the entries of all tensors together; how they fall on the tensors is known from values only."""


@dataclass(frozen=True)
class Counted:
    """Stands where :class:`holdfast.methods.selective.selection.Selected` stands in training."""

    parameter: nn.Parameter
    values: nn.Parameter


def count_selected(method: Sparse, component: Component) -> dict[str, Counted]:
    """As many trained values per parameter as the method would select.

    Raises:
        HoldfastError: The ratio is chosen by looking at data.
    """
    matrices = method.matrices(component)
    return {
        name: Counted(matrices[name], nn.Parameter(torch.empty(count, device="meta")))
        for name, count in _counts(method, {name: tuple(p.shape) for name, p in matrices.items()}).items()
        if count
    }


def _counts(method: Sparse, shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    if method.card.name == "gps":
        per_row = method.options.per_row
        return {name: shape[0] * min(per_row, shape[1]) for name, shape in shapes.items()}
    ratio = getattr(method.options, "ratio", None)
    if not isinstance(ratio, int | float):
        raise HoldfastError(
            f"method '{method.card.name}' chooses how many entries train by looking at data, so it cannot be planned",
            remedy="plan with a number, such as ratio: 0.05",
        )
    method.ratio = ratio
    if method.card.name == "sift":
        return {name: min(size, int(ratio * size) + 1) for name, size in sizes.items()}
    if method.card.name not in OVERALL:
        return {name: share(ratio, size) for name, size in sizes.items()}
    left, counts = share(ratio, sum(sizes.values())), {}
    for name, size in sizes.items():
        counts[name] = min(left, math.ceil(ratio * size))
        left -= counts[name]
    return counts

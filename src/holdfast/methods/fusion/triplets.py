"""Singular triplets of a change, as fusions of low rank take them."""

from __future__ import annotations

import torch
from torch import Tensor


def triplets(matrix: Tensor, rank: float) -> tuple[Tensor, Tensor]:
    """The best approximation by the ``rank`` share of the singular triplets, at least one, as factors ``[out, k]``,
    which holds the singular values, and ``[k, in]``.
    """
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    k = max(1, int(rank * len(values)))
    return left[:, :k] * values[:k], right[:k]

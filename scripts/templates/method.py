"""The largest weights of every matrix train, the rest stays."""

from __future__ import annotations

from torch import Tensor

from holdfast.methods.contract import Card, Context
from holdfast.methods.selective.scores import share, top
from holdfast.methods.selective.sparse import Sparse
from holdfast.models.anatomy import Component


class Biggest(Sparse):
    """Trains the ``round(ratio * n)`` entries of largest ``|w|`` of a matrix of ``n``."""

    card = Card(
        name="biggest",
        paradigm="selective",
        family="mask",
        summary="the largest weights train",
        paper="arXiv 0000.00000",
        year=2026,
        checked_against="the formula in NumPy",
    )

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        return {
            name: top(p.detach().abs(), share(self.ratio, p.numel())).cpu()
            for name, p in self.matrices(component).items()
        }

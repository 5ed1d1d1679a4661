"""Several pairs of factors beside one layer: a group, or experts that are weighed anew for every token."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.contract import Context
from holdfast.methods.low_rank import Change, LowRank, Scaled, empty, kaiming


class Stacked(Scaled):
    """``A [n, r, in]`` and ``B [n, out, r]``; ``many`` is the option that says how many there are."""

    many: ClassVar[str] = "experts"

    def __init__(self, layer: nn.Linear, options: Any, scale: float) -> None:
        super().__init__(layer, options, scale)
        n, r = int(getattr(options, self.many)), options.r
        self.A = nn.Parameter(empty(layer, n, r, layer.in_features))
        self.B = nn.Parameter(empty(layer, n, layer.out_features, r))

    def inner(self, x: Tensor) -> Tensor:
        """``A_n x`` with dropout, ``[..., n, r]``."""
        low: Tensor = functional.linear(self.dropped(x, self.A), self.A.flatten(0, 1)).unflatten(-1, self.A.shape[:2])
        return low


def weighed(weights: Tensor, low: Tensor, outer: Tensor) -> Tensor:
    """``sum_n w_n B_n z_n``: ``w [..., n]``, ``z [..., n, r]`` or one for all ``[..., 1, r]``, ``B [n, out, r]``."""
    # The weights go onto the r numbers of each: [..., n, r] and never [..., n, out].
    few = weights.to(low.dtype).unsqueeze(-1) * low
    return torch.einsum("...nr,nor->...o", few, outer.to(few.dtype))


def softmax_of(x: Tensor, router: Tensor) -> Tensor:
    """``softmax(R x)``, ``[..., n]``, of a router ``R [n, in]``; in float32."""
    return functional.linear(x.to(router.dtype), router).float().softmax(dim=-1)


class Routed(LowRank):
    """A method whose change depends on the token; all ``B`` start at zero, and a router ``R`` by Kaiming's rule."""

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        super().start(name, layer, change, context)
        kaiming(change.R, context.generator)

    def anchored(self, change: Change) -> bool:
        return False  # zero experts are zero whatever the router says

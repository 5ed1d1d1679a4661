"""VeRA (arXiv 2310.11454): random factors that all layers share, and two trained vectors in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from holdfast.methods.contract import Context
from holdfast.methods.low_rank import Change, LowRank, LowRankCard, empty, kaiming
from holdfast.methods.selective.dense import Scope


class VectorOptions(Scope):
    """Size of the shared factors, and the start of the inner vector."""

    source = "arXiv 2310.11454, PEFT's VeraConfig"
    r: int = Field(default=256, gt=0, description="rank of the shared factors; may exceed the width")
    start: float = Field(default=0.1, description="of the inner vector d")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="on the input")


class Vectors(Change):
    """``diag(b) B diag(d) A`` with the shared, frozen ``A``, ``B`` cut to the layer's size; ``b``, ``d`` trained."""

    def __init__(self, layer: nn.Linear, a: nn.Parameter, b: nn.Parameter, dropout: float) -> None:
        super().__init__()
        self.A, self.B = a, b
        self.d, self.b = nn.Parameter(empty(layer, len(a))), nn.Parameter(empty(layer, layer.out_features))
        self.shape, self.dropout = (layer.out_features, layer.in_features), dropout

    def weight(self) -> Tensor:
        rows, columns = self.shape
        return self.b[:, None] * (self.B[:rows] @ (self.d[:, None] * self.A[:, :columns]))

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.shape
        inner = functional.dropout(x, self.dropout, self.training).to(self.A.dtype)
        return self.b * functional.linear(self.d * functional.linear(inner, self.A[:, :columns]), self.B[:rows])


class Vera(LowRank):
    """``W0 + diag(b) B diag(d) A``: ``A``, ``B`` drawn once by Kaiming's rule with a gain of sqrt(2), as large as the
    largest layer and frozen; ``b`` starts at zero. They are saved with the vectors.
    """

    card = LowRankCard(
        name="vera",
        family="structure",
        summary="two trained vectors a layer around random factors that all share",
        paper="arXiv 2310.11454",
        year=2024,
        official_code="huggingface/peft",
        checked_against="dense weights under AdamW, three steps; factors are shared",
        default_lr=4e-3,
    )
    Settings = VectorOptions

    def fits(self, layer: nn.Linear) -> str | None:
        return None  # random directions may be more than the width

    def share(self, layers: Mapping[str, nn.Linear]) -> None:
        first, rank = next(iter(layers.values())), self.options.r
        wide, tall = (max(getattr(x, side) for x in layers.values()) for side in ("in_features", "out_features"))
        self.A = nn.Parameter(empty(first, rank, wide), requires_grad=False)
        self.B = nn.Parameter(empty(first, tall, rank), requires_grad=False)

    def begin(self, context: Context) -> None:
        for factor in (self.A, self.B):
            kaiming(factor, context.generator)
            factor.mul_(6**0.5)

    def build(self, name: str, layer: nn.Linear) -> Change:
        return Vectors(layer, self.A, self.B, self.options.dropout)

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        change.d.fill_(self.options.start)
        change.b.zero_()

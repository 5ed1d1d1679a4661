"""ShareLoRA (arXiv 2406.10785): layers of one kind share a factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import nn

from holdfast.methods.low_rank import Change, Factors, LowRank, LowRankCard, LowRankOptions


class ShareOptions(LowRankOptions):
    """LoRA's, and which factor is shared."""

    source = "arXiv 2406.10785, Rain9876/ShareLoRA"
    share: Literal["A", "B", "both"] = Field(default="A", description="which factors layers of one kind have in common")


class ShareLora(LowRank):
    """``W0 + s B A`` where layers of one name and one shape (all ``q_proj``, say) have ``A``, ``B`` or both in common;
    what is shared is one tensor, trained once and saved once.
    """

    card = LowRankCard(
        name="sharelora",
        family="structure",
        summary="LoRA whose A is shared by all layers of one kind",
        paper="arXiv 2406.10785",
        year=2024,
        official_code="Rain9876/ShareLoRA",
        checked_against="dense weights under AdamW, three steps; one tensor a kind",
        default_lr=2e-4,
    )
    Settings = ShareOptions

    def share(self, layers: Mapping[str, nn.Linear]) -> None:
        self.common: dict[tuple[str, int, int], Factors] = {}

    def build(self, name: str, layer: nn.Linear) -> Change:
        own = Factors(layer, self.options, self.scale)
        first = self.common.setdefault((name.rsplit(".", 1)[-1], layer.in_features, layer.out_features), own)
        if self.options.share in ("A", "both"):
            own.A = first.A
        if self.options.share in ("B", "both"):
            own.B = first.B
        return own

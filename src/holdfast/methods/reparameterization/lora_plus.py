"""LoRA+ (arXiv 2402.12354): the second factor learns faster than the first."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from holdfast.methods.contract import ParameterGroup
from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions


class TwoRates(LowRankOptions):
    """LoRA's, and how much faster ``B`` learns."""

    source = "nikhil-ghosh-berkeley/loraplus"
    ratio: float = Field(default=16.0, ge=1, description="learning rate of B over that of A")


class LoraPlus(LowRank):
    """``W0 + s B A`` as LoRA, with ``lr_B = ratio * lr_A``; the recipe's ``lr`` is that of ``A``."""

    over_shards = True
    card = LowRankCard(
        name="lora_plus",
        family="calibration",
        summary="LoRA whose B learns faster than its A",
        paper="arXiv 2402.12354",
        year=2024,
        official_code="nikhil-ghosh-berkeley/loraplus",
        checked_against="dense weights under AdamW with two rates, three steps",
        default_lr=1e-4,
    )
    Settings = TwoRates

    def parameter_groups(self, lr: float, weight_decay: float) -> list[ParameterGroup]:
        factors: dict[str, list[Any]] = {"A": [], "B": []}
        for name, parameter in self.named_trainable().items():
            factors[name[-1]].append(parameter)
        rates = {"A": lr, "B": lr * self.options.ratio}
        return [{"params": factors[key], "lr": rates[key], "weight_decay": weight_decay} for key in factors]

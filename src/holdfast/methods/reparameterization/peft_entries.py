"""Single entries by PEFT: sparse changes of weights, and biases beside them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AliasChoices, Field
from torch import nn

from holdfast.methods.peft_bridge import PeftMethod, PeftOptions, peft_card


class SparseRankOptions(PeftOptions):
    """How many entries train, and which."""

    source = "PEFT's ShiraConfig"
    r: int = Field(default=32, gt=0, description="r (in + out) entries of a layer train, as many as LoRA's")
    mask_seed: int = Field(
        default=0, ge=0, validation_alias=AliasChoices("mask_seed", "random_seed"), description="of the places"
    )


class Shira(PeftMethod):
    """``W0 + S``: ``S`` holds trained values at random places of every weight. Unlike ``random_mask``, which trains the
    weights themselves, it keeps its values beside them.
    """

    card = peft_card(
        name="shira",
        family="sparse",
        summary="trained values at random places of every weight",
        paper="arXiv 2406.13175",
        year=2024,
        default_lr=5e-4,
    )
    Settings = SparseRankOptions
    config_type = "ShiraConfig"
    calls_layers = False
    whole = True
    adds = True
    peft_names: ClassVar[dict[str, str]] = {"mask_seed": "random_seed"}

    def check(self, layer: nn.Linear) -> str | None:
        wanted = self.options.r * (layer.in_features + layer.out_features)
        room = layer.in_features * layer.out_features
        return f"{wanted} entries exceed the {room} values; choose a lower r" if wanted > room else None


class SuperOptions(PeftOptions):
    """How many entries train, from which end, and a LoRA beside them."""

    source = "PEFT's SupertuningConfig"
    sparsity: float = Field(default=0.99, ge=0, lt=1, description="share of the entries that stay")
    select_top: bool = Field(default=True, description="train the largest; otherwise the smallest")
    r: int | None = Field(default=None, gt=0, description="rank of a LoRA beside them (Supra); default: none")
    alpha: float | None = Field(
        default=None,
        gt=0,
        validation_alias=AliasChoices("alpha", "lora_alpha"),
        description="its scale, over r; default: 2 r",
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        validation_alias=AliasChoices("dropout", "lora_dropout"),
        description="on its input",
    )


class SuperTuning(PeftMethod):
    """``W0 + S (+ s B A)``: ``S`` holds trained values at the places of the largest weights."""

    card = peft_card(
        name="supertuning",
        family="sparse",
        summary="trained values at the places of the largest weights",
        paper="arXiv 2607.09287",
        year=2026,
    )
    Settings = SuperOptions
    config_type = "SupertuningConfig"
    calls_layers = False
    adds = True
    peft_names: ClassVar[dict[str, str]] = {"alpha": "lora_alpha", "dropout": "lora_dropout"}

    def check(self, layer: nn.Linear) -> str | None:
        asked = {"alpha", "dropout"} & self.options.model_fields_set
        if asked and self.options.r is None:
            return f"{sorted(asked)[0]} belongs to a LoRA that r does not ask for beside the entries; give r too"
        return super().check(layer)


class Beft(PeftMethod):
    """``W0 x + b`` with a trained ``b``, which starts at zero, on the values of attention unless a recipe names other
    modules. A llama-type layer has no bias that could take it in.
    """

    card = peft_card(
        name="beft",
        family="bias",
        summary="a trained bias on the values of attention",
        paper="arXiv 2509.15974",
        year=2025,
        default_lr=1e-3,
        mergeable=False,
    )
    config_type = "BeftConfig"
    default_modules: ClassVar[tuple[str, ...]] = ("v_proj",)

"""Changes of PEFT's that are no product of thin factors: sparse spectra, and a product with the weight."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, Field
from torch import nn

from holdfast.methods.peft_bridge import PeftMethod, PeftOptions, peft_card
from holdfast.values import Keywords


class SpectrumOptions(PeftOptions):
    """How many frequencies, where they are, and how they start."""

    source = "arXiv 2405.03003, PEFT's FourierFTConfig"
    n: int = Field(
        default=1000,
        gt=0,
        validation_alias=AliasChoices("n", "n_frequency"),
        description="frequencies that train in every layer",
    )
    scale: float = Field(
        default=150.0, gt=0, validation_alias=AliasChoices("scale", "scaling"), description="of the change"
    )
    location_seed: int = Field(
        default=777,
        ge=0,
        validation_alias=AliasChoices("location_seed", "random_loc_seed"),
        description="of the places of the frequencies, which layers of one shape have in common",
    )
    init: Literal["normal", "zero"] = Field(
        default="normal", description="of the coefficients: the paper's N(0, 1) does not begin at the base"
    )


class FourierFt(PeftMethod):
    """``W0 + s Re(ifft2(S))`` where ``S`` holds ``n`` trained coefficients at random places and zeros elsewhere."""

    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    card = peft_card(
        name="fourierft",
        family="structure",
        summary="a sparse spectrum of trained coefficients",
        paper="arXiv 2405.03003",
        year=2024,
        default_lr=1e-2,
    )
    Settings = SpectrumOptions
    config_type = "FourierFTConfig"
    adds = True
    peft_names: ClassVar[dict[str, str]] = {
        "n": "n_frequency",
        "scale": "scaling",
        "location_seed": "random_loc_seed",
        "init": "init_weights",
    }

    def check(self, layer: nn.Linear) -> str | None:
        return _too_many(self.options.n, "frequencies", layer)

    def _values(self, component: Any) -> Keywords:
        values = super()._values(component)
        return values | {"init_weights": values["init_weights"] == "zero"}


class HadamardOptions(PeftOptions):
    """Rank and dropout."""

    source = "PEFT's HiraConfig"
    r: int = Field(default=32, gt=0, description="rank of the factor beside the weight")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "hira_dropout"), description="on the input"
    )


class Hira(PeftMethod):
    """``W0 + W0 * (B A)``, the product entry by entry, so that the change may have full rank; ``B`` starts at zero."""

    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    card = peft_card(
        name="hira",
        family="structure",
        summary="the weight times a low-rank product, entry by entry",
        paper="OpenReview TwJrTz9cRS",
        year=2025,
        default_lr=1e-3,
    )
    Settings = HadamardOptions
    config_type = "HiraConfig"
    peft_names: ClassVar[dict[str, str]] = {"dropout": "hira_dropout"}


class WaveletOptions(PeftOptions):
    """How many coefficients, of which wavelets, and where they are."""

    source = "PEFT's WaveFTConfig"
    n: int = Field(
        default=2592,
        gt=0,
        validation_alias=AliasChoices("n", "n_frequency"),
        description="coefficients that train in every layer",
    )
    scale: float = Field(
        default=25.0, gt=0, validation_alias=AliasChoices("scale", "scaling"), description="of the change"
    )
    wavelet: Literal["db1", "db2", "sym2", "coif1"] = Field(
        default="db1", validation_alias=AliasChoices("wavelet", "wavelet_family"), description="family; db1 is Haar's"
    )
    inverse: bool = Field(
        default=True,
        validation_alias=AliasChoices("inverse", "use_idwt"),
        description="transform back; otherwise the coefficients are added to the weight as they are",
    )
    location_seed: int = Field(
        default=777,
        ge=0,
        validation_alias=AliasChoices("location_seed", "random_loc_seed"),
        description="of the places of the coefficients",
    )


class WaveFt(PeftMethod):
    """``W0 + s idwt2(S)`` where ``S`` holds ``n`` trained wavelet coefficients, which start at zero."""

    card = peft_card(
        name="waveft",
        family="structure",
        summary="sparse trained wavelet coefficients",
        paper="arXiv 2505.12532",
        year=2025,
        default_lr=1e-3,
    )
    Settings = WaveletOptions
    config_type = "WaveFTConfig"
    adds = True
    peft_names: ClassVar[dict[str, str]] = {
        "n": "n_frequency",
        "scale": "scaling",
        "wavelet": "wavelet_family",
        "inverse": "use_idwt",
        "location_seed": "random_loc_seed",
    }

    def check(self, layer: nn.Linear) -> str | None:
        return _too_many(self.options.n, "coefficients", layer)


def _too_many(count: int, what: str, layer: nn.Linear) -> str | None:
    room = layer.in_features * layer.out_features
    return f"{count} {what} exceed the {room} values; choose a lower n" if count > room else None

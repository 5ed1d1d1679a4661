"""Low-rank changes of PEFT's: LoRA and its kin."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AliasChoices, BeforeValidator, Field
from torch import Tensor, nn

from holdfast.methods.contract import Options
from holdfast.methods.peft_bridge import PeftMethod, PeftOptions, peft_card
from holdfast.values import Keywords


def _start(value: Any) -> Any:
    """PEFT's ``init_lora_weights``: what starts elsewhere than at the base is a method of its own here."""
    if value is True:
        return "kaiming"
    if isinstance(value, str) and value in (
        "pissa",
        "olora",
        "milora",
        "corda",
        "eva",
        "orthogonal",
        "loftq",
        "lora_ga",
    ):
        raise ValueError(
            f"a start from '{value}' is no option of this method; see holdfast methods for one of that name"
        )
    return value


class LoraOptions(PeftOptions):
    """Rank, scale, dropout and the start of ``A``; ``B`` starts at zero."""

    r: int = Field(default=128, gt=0, description="rank")
    alpha: float = Field(
        default=256, gt=0, validation_alias=AliasChoices("alpha", "lora_alpha"), description="scale, over r"
    )
    dropout: float = Field(
        default=0.05, ge=0, lt=1, validation_alias=AliasChoices("dropout", "lora_dropout"), description="on the input"
    )
    init: Annotated[Literal["kaiming", "gaussian"], BeforeValidator(_start)] = Field(
        default="kaiming", validation_alias=AliasChoices("init", "init_lora_weights"), description="of A"
    )
    use_dora: bool = Field(default=False, description="train a length for every output too, as method dora does")
    use_rslora: bool = Field(default=False, description="scale by alpha / sqrt(r), as method rslora does")


class RsLoraOptions(LoraOptions):
    """The scale keeps its size at any rank, so it starts lower."""

    alpha: float = Field(
        default=16, gt=0, validation_alias=AliasChoices("alpha", "lora_alpha"), description="scale, over sqrt(r)"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "lora_dropout"), description="on the input"
    )
    use_rslora: Literal[True] = True


class DoraOptions(LoraOptions):
    """As LoRA's."""

    use_dora: Literal[True] = True


class Lora(PeftMethod):
    """``W + (alpha / r) B A`` with ``A [r, in]``, ``B [out, r]``."""

    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    over_shards = True
    card = peft_card(name="lora", summary="W + (alpha / r) B A", paper="arXiv 2106.09685", year=2021)
    Settings: ClassVar[type[Options]] = LoraOptions
    config_type = "LoraConfig"
    leaves_biases = True
    peft_names: ClassVar[dict[str, str]] = {
        "alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "init": "init_lora_weights",
    }

    def _inject(self, generator: torch.Generator | None) -> None:
        super()._inject(generator)
        for name in self.layers:
            wrapped: Any = self.component.model.get_submodule(name)
            wrapped._cast_input_dtype = _as_read

    def packed_bits(self) -> tuple[int, ...]:
        # The length of an output is the norm of a row, which PEFT reads off four bits and not off eight.
        return (4,) if getattr(self.options, "use_dora", False) else super().packed_bits()

    def beside_any_layer(self) -> bool:
        return type(self) is Lora and not self.options.use_dora  # PEFT wraps those layers for LoRA alone

    def squares(self) -> list[Tensor]:
        if self.options.use_dora:
            return []  # its lengths change the weight too
        wrapped: list[Any] = [self.component.model.get_submodule(name) for name in self.layers]
        products = [(x.lora_B[self._adapter].weight, x.lora_A[self._adapter].weight) for x in wrapped]
        scales = [x.scaling[self._adapter] ** 2 for x in wrapped]
        return [s * ((b.T @ b) * (a @ a.T)).sum() for s, (b, a) in zip(scales, products, strict=True)]

    def input_rows(self) -> dict[str, nn.Parameter]:
        wrapped: list[tuple[str, Any]] = [(n, self.component.model.get_submodule(n)) for n in self.layers]
        if self.options.use_dora:
            return {}  # a length changes the weight too
        return {n: x.lora_A[self._adapter].weight for n, x in wrapped}

    def weight_changes(self) -> dict[str, tuple[Tensor, Tensor]]:
        wrapped: list[tuple[str, Any]] = [(n, self.component.model.get_submodule(n)) for n in self.layers]
        if self.options.use_dora:
            return {}
        return {n: (x.get_base_layer().weight, x.get_delta_weight(self._adapter)) for n, x in wrapped}

    def _values(self, component: Any) -> Keywords:
        values = super()._values(component)
        if values["init_lora_weights"] == "kaiming":
            values["init_lora_weights"] = True
        return values


def _as_read(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The input of a layer as ``A`` reads it.

    Under autocast the product converts it anyway. PEFT, except in four bits, makes ``A`` a float32 copy first, which
    autocast turns back into half precision: the same values, but every layer keeps its own where several read one.
    """
    return x if torch.is_autocast_enabled(x.device.type) else x.to(dtype)


class Dora(Lora):
    """LoRA on the direction of every output's weights, and a trained vector for their length."""

    over_shards = True
    over_quantised: ClassVar[tuple[int, ...]] = (4,)
    card = peft_card(
        name="dora", summary="LoRA on the direction, a vector for the length", paper="arXiv 2402.09353", year=2024
    )
    Settings = DoraOptions


class RsLora(Lora):
    """``W + (alpha / sqrt(r)) B A``."""

    over_shards = True
    card = peft_card(name="rslora", summary="LoRA scaled by alpha / sqrt(r)", paper="arXiv 2312.03732", year=2023)
    Settings = RsLoraOptions


class LycorisOptions(PeftOptions):
    """Rank, scale and what is dropped while training."""

    r: int = Field(default=8, gt=0, description="rank of each factor")
    alpha: float = Field(default=16, gt=0, description="scale, over r")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "rank_dropout"), description="of ranks"
    )
    module_dropout: float = Field(default=0.0, ge=0, lt=1, description="chance that a layer's change is left out")


class LoHa(PeftMethod):
    """``W + (alpha / r) (B1 A1) * (B2 A2)``, the product entry by entry."""

    card = peft_card(
        name="loha", summary="Hadamard product of two low-rank products", paper="arXiv 2108.06098", year=2022
    )
    Settings: ClassVar[type[Options]] = LycorisOptions
    config_type = "LoHaConfig"
    adds = True
    peft_names: ClassVar[dict[str, str]] = {"dropout": "rank_dropout"}


class KroneckerOptions(LycorisOptions):
    """As LoHa's, and how the width is divided."""

    decompose_both: bool = Field(default=False, description="the left factor is of low rank too")
    decompose_factor: int = Field(default=-1, ge=-1, description="width of the left factor; -1: about the square root")


class LoKr(LoHa):
    """``W + (alpha / r) A kron B``."""

    card = peft_card(name="lokr", summary="Kronecker product of small factors", paper="arXiv 2309.14859", year=2023)
    Settings = KroneckerOptions
    config_type = "LoKrConfig"

    def check(self, layer: nn.Linear) -> str | None:
        return None  # a rank that is not below its factor's width means a factor in full


class DeloraOptions(PeftOptions):
    """Rank and the strength at the start."""

    r: int = Field(default=8, gt=0, description="rank")
    strength: float = Field(
        default=15, gt=0, validation_alias=AliasChoices("strength", "delora_lambda"), description="at the start"
    )
    module_dropout: float = Field(default=0.0, ge=0, lt=1, description="on the input")


class Delora(PeftMethod):
    """``W + lambda / r * |W| sum_i b_i a_i / (|b_i| |a_i|)`` with a trained ``lambda``."""

    card = peft_card(
        name="delora",
        summary="normalised LoRA with a trained strength",
        paper="arXiv 2503.18225",
        year=2025,
        default_lr=1e-3,
    )
    Settings = DeloraOptions
    config_type = "DeloraConfig"
    adds = True
    peft_names: ClassVar[dict[str, str]] = {"strength": "delora_lambda"}

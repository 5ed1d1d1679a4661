"""Rotations and reflections of PEFT's: the weights keep their lengths."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AliasChoices, Field
from torch import nn

from holdfast.methods.peft_bridge import PeftMethod, PeftOptions, peft_card


class OftOptions(PeftOptions):
    """The size of the rotated blocks, and how free they are."""

    block: int = Field(
        default=32,
        gt=1,
        validation_alias=AliasChoices("block", "oft_block_size"),
        description="inputs that are rotated among each other; divides the layer's width",
    )
    coft: bool = Field(default=False, description="keep the rotation within eps of none")
    eps: float = Field(default=6e-5, gt=0, description="how far, with coft")
    block_share: bool = Field(default=False, description="one rotation for all blocks of a layer")
    use_cayley_neumann: bool = Field(default=True, description="approximate the rotation by a series")
    num_cayley_neumann_terms: int = Field(default=5, gt=0, description="of that series")


class Oft(PeftMethod):
    """``W R`` with ``R`` block-diagonal and orthogonal, by the Cayley transform of skew-symmetric blocks."""

    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    card = peft_card(
        name="oft",
        family="orthogonal",
        summary="block-diagonal rotation of the weights",
        paper="arXiv 2306.07280",
        year=2023,
    )
    Settings = OftOptions
    config_type = "OFTConfig"
    fixed: ClassVar[dict[str, int]] = {"r": 0}
    peft_names: ClassVar[dict[str, str]] = {"block": "oft_block_size"}

    def check(self, layer: nn.Linear) -> str | None:
        # Where nobody asked for a size PEFT's nearest divisor does; a size that was asked for acts or is refused.
        asked = "block" in self.options.model_fields_set
        return _undivided(self.options.block, layer) if asked else None


class BoftOptions(PeftOptions):
    """The size of the blocks."""

    block: int = Field(
        default=4,
        gt=0,
        validation_alias=AliasChoices("block", "boft_block_size"),
        description="size of a block; divides the layer's width",
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        validation_alias=AliasChoices("dropout", "boft_dropout"),
        description="chance that a block stays as it is",
    )


class Boft(PeftMethod):
    """``s R W``: a block-diagonal rotation and a trained scale of every output.

    One factor of the butterfly: without its CUDA extension PEFT sets their number to 1 and goes on in silence, so that
    number is no option.
    """

    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    card = peft_card(
        name="boft", family="orthogonal", summary="butterfly product of rotations", paper="arXiv 2311.06243", year=2024
    )
    Settings = BoftOptions
    config_type = "BOFTConfig"
    peft_names: ClassVar[dict[str, str]] = {
        "block": "boft_block_size",
        "dropout": "boft_dropout",
    }

    def check(self, layer: nn.Linear) -> str | None:
        return _undivided(self.options.block, layer)


class HraOptions(PeftOptions):
    """How many reflections."""

    r: int = Field(default=8, gt=0, description="reflections one after the other")
    orthogonal: bool = Field(
        default=False,
        validation_alias=AliasChoices("orthogonal", "apply_GS"),
        description="keep their directions orthogonal to each other (Gram-Schmidt)",
    )


class Hra(PeftMethod):
    """``W H_1 ... H_r`` with Householder reflections ``H_i = I - 2 u_i u_i^T / |u_i|^2``, paired so that they start as
    the identity.
    """

    card = peft_card(
        name="hra",
        family="orthogonal",
        summary="a chain of Householder reflections",
        paper="arXiv 2405.17484",
        year=2024,
    )
    Settings = HraOptions
    config_type = "HRAConfig"
    calls_layers = False
    peft_names: ClassVar[dict[str, str]] = {"orthogonal": "apply_GS"}


class RotationOptions(PeftOptions):
    """How outputs are grouped, and how many values a pair has."""

    source = "PEFT's RoadConfig"
    variant: Literal["road_1", "road_2", "road_4"] = Field(
        default="road_1", description="angles and lengths of a pair: one, two or four of each"
    )
    group: int = Field(
        default=64,
        gt=0,
        multiple_of=2,
        validation_alias=AliasChoices("group", "group_size"),
        description="outputs of a group, paired with each other; divides the outputs of every layer",
    )


class Road(PeftMethod):
    """``R W``: outputs are turned and stretched in pairs, by a trained angle and length each."""

    card = peft_card(
        name="road",
        family="orthogonal",
        summary="two-dimensional rotations of the outputs",
        paper="arXiv 2409.00119",
        year=2024,
        default_lr=3e-3,
    )
    Settings = RotationOptions
    config_type = "RoadConfig"
    peft_names: ClassVar[dict[str, str]] = {"group": "group_size"}

    def check(self, layer: nn.Linear) -> str | None:
        if layer.out_features % self.options.group == 0:
            return None
        return f"group {self.options.group} does not divide the {layer.out_features} outputs; choose a divisor"


class PrincipalOptions(PeftOptions):
    """The principal subspace, and how free its rotation is."""

    source = "PEFT's PsoftConfig"
    r: int = Field(default=32, gt=0, description="largest singular directions, which are rotated")
    alpha: int = Field(
        default=32, gt=0, validation_alias=AliasChoices("alpha", "psoft_alpha"), description="scale, over r"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "psoft_dropout"), description="on the input"
    )
    orthogonal: bool = Field(
        default=True,
        validation_alias=AliasChoices("orthogonal", "psoft_orth"),
        description="a rotation by the Cayley transform; otherwise any r x r matrix",
    )
    outer: bool = Field(
        default=True, validation_alias=AliasChoices("outer", "psoft_mag_b"), description="a trained length behind it"
    )
    inner: bool = Field(
        default=True, validation_alias=AliasChoices("inner", "psoft_mag_a"), description="a trained length before it"
    )


class Psoft(PeftMethod):
    """``W0 + s B (R - I) A`` with ``s B A`` the ``r`` largest singular directions of ``W0``, frozen, and a trained
    rotation ``R`` between them.
    """

    card = peft_card(
        name="psoft",
        family="orthogonal",
        summary="a rotation of the principal subspace of the weight",
        paper="OpenReview FSHrinMArK",
        year=2026,
    )
    Settings = PrincipalOptions
    config_type = "PsoftConfig"
    whole = True
    peft_names: ClassVar[dict[str, str]] = {
        "alpha": "psoft_alpha",
        "dropout": "psoft_dropout",
        "orthogonal": "psoft_orth",
        "outer": "psoft_mag_b",
        "inner": "psoft_mag_a",
    }


def _undivided(block: int, layer: nn.Linear) -> str | None:
    if layer.in_features % block == 0:
        return None
    fits = max(size for size in range(1, block + 1) if layer.in_features % size == 0)
    return f"block {block} does not divide the width {layer.in_features}; choose a divisor such as {fits}"

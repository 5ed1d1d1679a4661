"""Changes by PEFT whose layers share state: random bases, a bank of vectors, one trained vector for all."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AliasChoices, Field
from torch import nn

from holdfast.methods.peft_bridge import PeftMethod, PeftOptions, peft_card, undivided


class RandomBasisOptions(PeftOptions):
    """Rank of the random bases, scale, and how the bases are drawn."""

    source = "PEFT's RandLoraConfig"
    r: int = Field(default=32, gt=0, description="rank of each random basis")
    alpha: int = Field(
        default=640,
        gt=0,
        validation_alias=AliasChoices("alpha", "randlora_alpha"),
        description="scale, over r; about 20 times the rank",
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        validation_alias=AliasChoices("dropout", "randlora_dropout"),
        description="on the input",
    )
    sparse: bool = Field(default=False, description="bases of -1, 0 and 1, a third of them not zero")
    very_sparse: bool = Field(default=False, description="fewer still: one in the root of the width")
    basis_seed: int = Field(
        default=0, ge=0, validation_alias=AliasChoices("basis_seed", "projection_prng_key"), description="of the bases"
    )


class RandLora(PeftMethod):
    """``W0 + s sum_n B_n diag(l_n) A diag(g_n)``: as many random bases as full rank needs, shared by all layers and
    frozen; the scales ``l``, ``g`` train.
    """

    card = peft_card(
        name="randlora",
        family="structure",
        summary="full-rank sum of random bases with trained scales",
        paper="arXiv 2502.00987",
        year=2025,
        default_lr=1e-4,
    )
    Settings = RandomBasisOptions
    config_type = "RandLoraConfig"
    whole = True
    adds = True
    peft_names: ClassVar[dict[str, str]] = {
        "alpha": "randlora_alpha",
        "dropout": "randlora_dropout",
        "basis_seed": "projection_prng_key",
    }


class SampledOptions(PeftOptions):
    """Size of the shared factors and the start of the inner vector."""

    source = "PEFT's PveraConfig"
    r: int = Field(default=256, gt=0, description="rank of the shared factors; may exceed the width")
    start: float = Field(
        default=0.1, validation_alias=AliasChoices("start", "d_initial"), description="of the inner vector d"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "pvera_dropout"), description="on the input"
    )
    basis_seed: int = Field(
        default=0, ge=0, validation_alias=AliasChoices("basis_seed", "projection_prng_key"), description="of A and B"
    )


class PVera(PeftMethod):
    """``W0 x + diag(b) B z``: ``z`` is drawn around ``diag(d) A x`` while training and is its mean afterwards; ``A``
    and ``B`` are random, shared by all layers and frozen.
    """

    card = peft_card(
        name="pvera",
        family="structure",
        summary="VeRA whose inner activations are drawn while training",
        paper="arXiv 2512.07703",
        year=2025,
        default_lr=4e-3,
    )
    Settings = SampledOptions
    config_type = "PveraConfig"
    whole = True
    adds = True
    peft_names: ClassVar[dict[str, str]] = {
        "start": "d_initial",
        "dropout": "pvera_dropout",
        "basis_seed": "projection_prng_key",
    }

    def check(self, layer: nn.Linear) -> str | None:
        return None  # random directions may be more than the width


class JointOptions(PeftOptions):
    """How many entries beside the diagonal train."""

    source = "PEFT's FrodConfig"
    sparse_rate: float = Field(default=0.01, gt=0, le=1, description="share of the entries beside the diagonal")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "frod_dropout"), description="on the input"
    )
    basis_seed: int = Field(
        default=0,
        ge=0,
        validation_alias=AliasChoices("basis_seed", "projection_prng_key"),
        description="of the places of those entries",
    )


class Frod(PeftMethod):
    """``U (L + S) V^T``: layers of one name share ``V``, found from their weights together; the diagonal ``L`` and the
    sparse ``S``, which starts at zero, train. Holds another copy of each weight, and of one a kind.
    """

    card = peft_card(
        name="frod",
        family="structure",
        summary="trains a diagonal and sparse entries in a basis that layers share",
        paper="doi 10.1609/aaai.v40i31.39813",
        year=2026,
    )
    Settings = JointOptions
    config_type = "FrodConfig"
    calls_layers = False
    fixed: ClassVar[dict[str, bool]] = {"progressbar": False}
    whole = True
    peft_names: ClassVar[dict[str, str]] = {
        "dropout": "frod_dropout",
        "basis_seed": "projection_prng_key",
    }


class BankOptions(PeftOptions):
    """The rank, and the bank of vectors that all factors are put together from."""

    source = "PEFT's VBLoRAConfig"
    r: int = Field(default=4, gt=0, description="rank")
    vectors: int = Field(
        default=256, gt=0, validation_alias=AliasChoices("vectors", "num_vectors"), description="in the bank"
    )
    length: int = Field(
        default=256,
        gt=0,
        validation_alias=AliasChoices("length", "vector_length"),
        description="of a vector; divides the widths of every layer",
    )
    topk: int = Field(default=2, gt=0, description="vectors mixed into each piece; at most as many as the bank has")
    bound: float = Field(
        default=0.02,
        gt=0,
        validation_alias=AliasChoices("bound", "init_vector_bank_bound"),
        description="start of the bank: uniform within it",
    )
    spread: float = Field(
        default=0.1,
        gt=0,
        validation_alias=AliasChoices("spread", "init_logits_std"),
        description="deviation of the mixing weights at the start",
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "vblora_dropout"), description="on the input"
    )


class VbLora(PeftMethod):
    """``W0 + B A`` whose pieces are mixtures of the ``topk`` best vectors of one bank for all layers. It starts a
    little beside the base.
    """

    card = peft_card(
        name="vblora",
        family="structure",
        summary="factors put together from one bank of vectors",
        paper="arXiv 2405.15179",
        year=2024,
        default_lr=1e-3,
    )
    Settings = BankOptions
    config_type = "VBLoRAConfig"
    whole = True
    adds = True
    peft_names: ClassVar[dict[str, str]] = {
        "vectors": "num_vectors",
        "length": "vector_length",
        "bound": "init_vector_bank_bound",
        "spread": "init_logits_std",
        "dropout": "vblora_dropout",
    }

    def check(self, layer: nn.Linear) -> str | None:
        options = self.options
        if options.topk > options.vectors:
            what = f"topk {options.topk} exceeds the {options.vectors} vectors that the bank has for the factors"
            return f"{what}; choose a lower topk"
        return undivided("length", options.length, layer) or super().check(layer)


class OneVectorOptions(PeftOptions):
    """The rank, and the length of the one vector."""

    source = "PEFT's UniLoraConfig"
    r: int = Field(default=4, gt=0, description="rank")
    length: int = Field(
        default=256,
        gt=0,
        validation_alias=AliasChoices("length", "theta_d_length"),
        description="trained values, all in all",
    )
    bound: float = Field(
        default=0.02,
        gt=0,
        validation_alias=AliasChoices("bound", "init_theta_d_bound"),
        description="start: uniform within it",
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "unilora_dropout"), description="on the input"
    )
    place_seed: int = Field(
        default=42,
        ge=0,
        validation_alias=AliasChoices("place_seed", "proj_seed"),
        description="of which value stands where",
    )


class UniLora(PeftMethod):
    """``W0 + B A`` where every entry of every factor is one of a few trained values, at a fixed random place. It starts
    a little beside the base.
    """

    card = peft_card(
        name="unilora",
        family="structure",
        summary="all factors of all layers from one short vector",
        paper="arXiv 2506.00799",
        year=2025,
        default_lr=1e-3,
    )
    Settings = OneVectorOptions
    config_type = "UniLoraConfig"
    whole = True
    adds = True
    peft_names: ClassVar[dict[str, str]] = {
        "length": "theta_d_length",
        "bound": "init_theta_d_bound",
        "dropout": "unilora_dropout",
        "place_seed": "proj_seed",
    }


class TinyOptions(PeftOptions):
    """The rank of the frozen factors, and how few values train."""

    source = "PEFT's TinyLoraConfig"
    r: int = Field(default=2, gt=0, description="largest singular directions of each weight")
    values: int = Field(
        default=64,
        gt=0,
        le=2**20,
        validation_alias=AliasChoices("values", "u"),
        description="trained in a group; each brings a random matrix to every layer",
    )
    tying: float = Field(
        default=0.0,
        ge=0,
        le=1,
        validation_alias=AliasChoices("tying", "weight_tying"),
        description="0: every layer has its own values; 1: one group for all layers",
    )
    dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        validation_alias=AliasChoices("dropout", "tinylora_dropout"),
        description="on the input",
    )
    basis_seed: int = Field(
        default=42,
        ge=0,
        validation_alias=AliasChoices("basis_seed", "projection_seed"),
        description="of the random matrices between the factors",
    )


class TinyLora(PeftMethod):
    """``W0 + B (sum_i v_i P_i) A`` with ``B A`` the largest singular directions of ``W0`` and random ``P_i``, all
    frozen; the few ``v_i`` train.
    """

    card = peft_card(
        name="tinylora",
        family="structure",
        summary="a handful of trained values between frozen singular factors",
        paper="arXiv 2602.04118",
        year=2026,
        default_lr=1e-3,
    )
    Settings = TinyOptions
    config_type = "TinyLoraConfig"
    whole = True
    adds = True
    peft_names: ClassVar[dict[str, str]] = {
        "values": "u",
        "tying": "weight_tying",
        "dropout": "tinylora_dropout",
        "basis_seed": "projection_seed",
    }

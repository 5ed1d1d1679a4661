"""Changes by PEFT in factors other than LoRA's: blocks, subspaces and the weight itself among them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import AliasChoices, Field
from torch import nn

from holdfast.methods.peft_bridge import PeftMethod, PeftOptions, peft_card, undivided
from holdfast.values import Keywords


class SubspaceOptions(PeftOptions):
    """How much of the weight's spectrum, in how many groups, and the rank of each group's change."""

    source = "PEFT's AdamssConfig"
    r: int = Field(default=100, gt=0, description="singular directions looked at; at most the width")
    subspaces: int = Field(
        default=5, gt=0, validation_alias=AliasChoices("subspaces", "num_subspaces"), description="groups of rows"
    )
    subspace_rank: int = Field(default=1, gt=0, description="rank of each group's change")


class Adamss(PeftMethod):
    """``W0 + B A V`` group by group: the rows of ``U S`` of ``W0 = U S V`` are clustered, and each cluster gets a thin
    ``B A`` in the coordinates of ``V``. PEFT's pruning of groups while training is not here.
    """

    card = peft_card(
        name="adamss",
        summary="thin changes in clustered subspaces of the weight",
        paper="OpenReview 8ZdWmpYxT0",
        year=2025,
        default_lr=1e-3,
    )
    Settings = SubspaceOptions
    config_type = "AdamssConfig"
    whole = True
    peft_names: ClassVar[dict[str, str]] = {"subspaces": "num_subspaces"}

    def check(self, layer: nn.Linear) -> str | None:
        return None  # PEFT takes as many directions as there are

    def _inject(self, generator: torch.Generator | None) -> None:
        super()._inject(generator)
        for name in self.layers:
            # Which rows are a group's comes from a clustering that another processor may make otherwise.
            wrapped: Any = self.component.model.get_submodule(name)
            self.constants[f"{name}.scatter_index"] = wrapped.scatter_index[self._adapter]


class GranularOptions(PeftOptions):
    """Rank, scale and the number of blocks a side."""

    source = "PEFT's GraloraConfig"
    r: int = Field(default=32, gt=0, description="rank; a multiple of blocks")
    alpha: float = Field(default=64, gt=0, description="scale, over r + hybrid_r")
    blocks: int = Field(
        default=2, gt=0, validation_alias=AliasChoices("blocks", "gralora_k"), description="blocks along each side"
    )
    hybrid_r: int = Field(default=0, ge=0, description="rank of a plain LoRA beside them")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "gralora_dropout"), description="on the input"
    )


class GraLora(PeftMethod):
    """``W0 + s D``: ``D`` is cut into ``blocks x blocks`` parts, each a product of thin factors of its own."""

    card = peft_card(
        name="gralora",
        family="structure",
        summary="a thin product in every block of the weight",
        paper="arXiv 2505.20355",
        year=2025,
    )
    Settings = GranularOptions
    config_type = "GraloraConfig"
    adds = True
    peft_names: ClassVar[dict[str, str]] = {"blocks": "gralora_k", "dropout": "gralora_dropout"}

    def check(self, layer: nn.Linear) -> str | None:
        blocks = self.options.blocks
        if self.options.r % blocks:
            return f"rank {self.options.r} is no multiple of the {blocks} blocks; choose r divisible by blocks"
        return undivided("blocks", blocks, layer) or super().check(layer)


class ShardOptions(PeftOptions):
    """Size of the shared shard, and how it is laid over the weight."""

    source = "PEFT's MissConfig"
    r: int = Field(default=64, gt=0, description="inputs that share one row of the shard")
    form: Literal["balance", "bat", "mini"] = Field(
        default="balance",
        description="balance: one shard added to every block; bat: multiplied with the weight's blocks too; mini: the "
        "shard repeats along the outputs",
    )
    mini_r: int | None = Field(default=None, gt=0, description="width of the shard, with form mini")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "miss_dropout"), description="on the input"
    )


class Miss(PeftMethod):
    """``W0 + D [1 ... 1]``: a trained shard ``D [out, r]`` is added to every block of ``r`` inputs (also: Bone)."""

    card = peft_card(
        name="miss",
        family="structure",
        summary="one shard, shared by all blocks of the inputs",
        paper="arXiv 2409.15371",
        year=2024,
    )
    Settings = ShardOptions
    config_type = "MissConfig"
    peft_names: ClassVar[dict[str, str]] = {"form": "init_weights", "dropout": "miss_dropout"}

    def check(self, layer: nn.Linear) -> str | None:
        options = self.options
        if (options.form == "mini") != (options.mini_r is not None):
            return (
                f"form {options.form} and mini_r {options.mini_r} do not go together in the shard; give both or neither"
            )
        if options.form == "bat":
            return undivided("r", options.r, layer) or super().check(layer)
        if options.mini_r and layer.out_features % options.mini_r:
            return f"mini_r {options.mini_r} does not divide the {layer.out_features} outputs; choose a divisor"
        return super().check(layer)

    def _values(self, component: Any) -> Keywords:
        values = super()._values(component)
        form = values["init_weights"]
        return values | {"init_weights": True if form == "balance" else form, "mini_r": values["mini_r"] or 1}


class InjectionOptions(PeftOptions):
    """Rank, scale, and how the projector is made."""

    source = "PEFT's DeftConfig"
    r: int = Field(default=8, gt=0, description="rank of the projector and of what is injected")
    alpha: int | None = Field(default=None, gt=0, description="scale of what is injected, over r; default: r")
    projector: Literal["relu", "qr"] = Field(
        default="relu",
        validation_alias=AliasChoices("projector", "decomposition_method"),
        description="relu: P relu(P)^T; qr: Q Q^T of P = Q R, orthogonal",
    )
    para: bool = Field(default=False, description="remove only, inject nothing")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "deft_dropout"), description="on the input"
    )


class Deft(PeftMethod):
    """``W0 - P' W0 + s P R``: takes a subspace out of the weight and puts a trained part into its place. It starts at
    the base, as PEFT has it; the authors' own code starts ``R`` at random.
    """

    card = peft_card(
        name="deft",
        family="structure",
        summary="one subspace of the weight removed, another injected",
        paper="NeurIPS 2025, MAXNORM8650/DEFT",
        year=2025,
    )
    Settings = InjectionOptions
    config_type = "DeftConfig"
    adds = True
    peft_names: ClassVar[dict[str, str]] = {"projector": "decomposition_method", "dropout": "deft_dropout"}


class SupportOptions(PeftOptions):
    """What stands on both sides of the weight, and on its bias."""

    source = "PEFT's GloraConfig"
    r: int = Field(default=8, gt=0, description="rank, where a part is of low rank")
    weight: Literal["lora", "vector", "constant", "none"] = Field(
        default="lora",
        validation_alias=AliasChoices("weight", "config_A_B"),
        description="form of A and B, which scale the weight and are added to it",
    )
    bias_from_weight: Literal["lora", "vector", "none"] = Field(
        default="lora",
        validation_alias=AliasChoices("bias_from_weight", "config_C"),
        description="form of C: the bias gains W0 C; nothing where a layer has no bias",
    )
    bias: Literal["vector", "constant", "none"] = Field(
        default="constant",
        validation_alias=AliasChoices("bias", "config_D_E"),
        description="form of D and E, which scale the bias and are added to it; nothing where a layer has none",
    )


class GLora(PeftMethod):
    """``W0 + W0 * A + B`` with the bias ``b + b * D + E + W0 C``; starts at the base."""

    card = peft_card(
        name="glora",
        family="structure",
        summary="scales and shifts of weight and bias together",
        paper="arXiv 2306.07967",
        year=2023,
    )
    Settings = SupportOptions
    config_type = "GloraConfig"
    peft_names: ClassVar[dict[str, str]] = {
        "weight": "config_A_B",
        "bias_from_weight": "config_C",
        "bias": "config_D_E",
    }

    def check(self, layer: nn.Linear) -> str | None:
        asked = self.options.model_fields_set & {"bias_from_weight", "bias"}
        if asked and "bias" not in dict(layer.named_parameters()):
            return (
                f"option {sorted(asked)[0]} finds no bias to change in the weights; leave it out, or name other modules"
            )
        return super().check(layer)


class NonlinearOptions(PeftOptions):
    """Size and depth of the small network that reads the weight."""

    source = "PEFT's PeanutConfig"
    r: int = Field(default=32, gt=0, description="hidden width")
    depth: int = Field(default=0, ge=0, multiple_of=2, description="hidden layers, half of them on each side")
    act_fn: Literal["relu", "gelu", "silu", "tanh", "sigmoid"] = Field(default="relu", description="between layers")
    scaling: float = Field(default=1.0, gt=0, description="of the change")


class Peanut(PeftMethod):
    """``W0 + s f(W0)`` with a small trained network ``f`` over the weight's rows, whose last layer starts at zero."""

    card = peft_card(
        name="peanut",
        family="structure",
        summary="the change is a small network of the weight itself",
        paper="arXiv 2410.01870",
        year=2024,
        default_lr=1e-3,
    )
    Settings = NonlinearOptions
    config_type = "PeanutConfig"
    adds = True


class FunnelOptions(PeftOptions):
    """How many singular directions may move."""

    source = "PEFT's OSFConfig"
    r: int | None = Field(
        default=None,
        gt=0,
        validation_alias=AliasChoices("r", "effective_rank"),
        description="largest singular directions that stay; default: half of the width",
    )


class Osf(PeftMethod):
    """``W0 + (U S V - U0 S0 V0)`` over all but the ``r`` largest singular directions of ``W0``; the gradients of ``U``
    and ``V`` are projected away from those directions. With the factors it holds about three copies of the weight.
    """

    card = peft_card(
        name="osf",
        family="calibration",
        summary="trains all small singular directions, away from the large ones",
        paper="arXiv 2504.07097",
        year=2025,
        default_lr=5e-6,
    )
    Settings = FunnelOptions
    config_type = "OSFConfig"
    whole = True
    adds = True
    peft_names: ClassVar[dict[str, str]] = {"r": "effective_rank"}

    def check(self, layer: nn.Linear) -> str | None:
        rank, width = self.options.r, min(layer.in_features, layer.out_features)
        if rank is not None and rank >= width:
            return f"{rank} directions that stay leave nothing of the width {width}; choose a lower r"
        return None

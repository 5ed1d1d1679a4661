"""SPU (arXiv 2308.12462): locate a few weights of the first layers of the MLPs, and train those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.contract import Batch, Card
from holdfast.methods.selective.masks import GradientMask, GradientScope
from holdfast.methods.selective.sparse import Ratio
from holdfast.speed.head import logits_at


class Located(GradientScope):
    """A tenth of gate and up, located by the size of the logits."""

    source = "wx-zhang/spu"
    modules: tuple[str, ...] | None = Field(
        default=("mlp_in",), min_length=1, description="attention, mlp, mlp_in, mlp_out, all, or names such as up_proj"
    )
    ratio: Ratio = Field(default=0.1, description="share of the entries that train, or 'auto'")
    score: Literal["logits", "loss"] = Field(
        default="logits",
        description="whose gradient locates: the mean squared norm of the answers' logits, or the loss",
    )


class Spu(GradientMask):
    """Per tensor the ``ratio`` of largest ``|sum over batches of g|`` in the first layers of the MLPs, with ``g`` the
    gradient of ``mean |logits|^2`` over the answer tokens at the base.

    The release looks at a quarter of the training set, and trains CLIP's biases and last projection too, which a
    multimodal LLM has no counterpart of.
    """

    card = Card(
        name="spu",
        paradigm="selective",
        family="mask",
        summary="a tenth of the MLPs' first layers, by the gradient of the logits' size",
        paper="arXiv 2308.12462",
        year=2024,
        official_code="wx-zhang/spu",
        default_lr=7.5e-6,
        checked_against="masked dense gradients, bit for bit; dense gradients of the logits' norm",
    )
    Settings = Located

    def loss(self, model: nn.Module) -> Callable[[Batch], Tensor] | None:
        def size(batch: Batch) -> Tensor:
            logits = logits_at(model, batch.inputs(model), batch.answer_places)
            return logits.float().square().sum(dim=-1).mean()

        return size if self.options.score == "logits" else None

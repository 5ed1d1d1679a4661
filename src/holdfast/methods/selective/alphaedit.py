"""AlphaEdit's null space (arXiv 2410.02355) as a way to tune: steps that general inputs do not feel."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from holdfast.methods.contract import Card, Context
from holdfast.methods.projection import DirectionOptions, Projected
from holdfast.methods.selective.dense import Scope, weights_in_scope
from holdfast.models.anatomy import Component


class NullSpaceScope(DirectionOptions, Scope):
    """The last layers of the MLPs, as the paper edits them."""

    source = "jianghoucheng/AlphaEdit (Llama3-8B, its layers 4 to 8); examples: ours"
    modules: tuple[str, ...] | None = Field(
        default=("mlp_out",),
        min_length=1,
        description="attention, mlp, mlp_in, mlp_out, all, or names such as down_proj",
    )


class AlphaEdit(Projected):
    """``W0 + D P`` with ``P`` the projector onto the eigenvectors of ``C = mean x x^T`` whose eigenvalue is below
    ``threshold``, ``x`` being what reaches the layer in source examples: gradient and change are projected.

    The paper writes single facts by a closed form with the same ``P``, from 100,000 passages of Wikipedia; here the
    target's loss makes ``D``, which is ours, and the sources stand for what is to be kept. Eigenvalues depend on the
    model's scale: ``protect`` says the share of directions instead.
    """

    card = Card(
        name="alphaedit",
        paradigm="selective",
        family="projection",
        summary="full tuning within the null space of general inputs",
        paper="arXiv 2410.02355",
        year=2025,
        official_code="jianghoucheng/AlphaEdit",
        default_lr=2e-5,
        checked_against="NumPy: covariance, eigenvectors, projected AdamW",
    )

    Settings = NullSpaceScope

    def choose(self, component: Component, context: Context) -> dict[str, nn.Parameter]:
        return weights_in_scope(component, self.options)

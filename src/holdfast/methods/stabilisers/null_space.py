"""Null-space projection: no step is felt by what reaches a layer in source examples."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from holdfast.methods.contract import Context, Method
from holdfast.methods.projection import DirectionOptions, FreeSpace, free_spaces
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, held_of


class Felt(DirectionOptions):
    """As AlphaEdit has it."""

    source = "jianghoucheng/AlphaEdit; examples: ours"


class NullSpace(Stabiliser):
    """``g <- g P`` and ``step <- step P`` for every trained matrix whose rows lie in a layer's input space, with ``P``
    the projector onto the eigenvectors of small eigenvalue of the mean of ``x x^T`` over source examples.

    Such are the weights of linear layers, and the first factor ``A`` of LoRA and its kin, whose start is projected
    too. Tensors of other kinds (norms, biases, embeddings) are not held. Costs a forward pass a source example, at most
    half an ``[in, in]`` matrix a layer, and a copy of the held matrices while the optimizer steps.
    """

    card = StabiliserCard(
        name="null_space",
        family="gradient",
        summary="no step is felt by the sources' inputs of a layer",
        paper="arXiv 2410.02355",
        year=2025,
        official_code="jianghoucheng/AlphaEdit",
        checked_against="NumPy: covariance, eigenvectors, projected AdamW",
    )
    Settings = Felt
    needs_sources = True

    def check(self, methods: Mapping[str, Method]) -> None:
        self.held = held_of(
            methods,
            lambda method: method.input_rows(),
            none="stabiliser 'null_space' turns matrices that read a layer's inputs; this recipe has none",
            remedy="use it with lora or with a method that trains whole tensors",
        )

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        self.pairs: list[tuple[nn.Parameter, FreeSpace]] = []
        for method in self.held or ():
            rows = method.input_rows()
            layers = {name: method.component.model.get_submodule(name) for name in rows}
            spaces = free_spaces("stabiliser 'null_space'", layers, context, self.options)
            self.pairs += [(rows[name], spaces[name]) for name in rows]
            if not method.anchors():  # a factor starts at random, not where the base is
                with torch.no_grad():
                    for name, matrix in rows.items():
                        matrix.copy_(spaces[name](matrix))

    @torch.no_grad()
    def before_step(self, step: int, trainable: Mapping[str, nn.Parameter]) -> None:
        self.before: list[Tensor] = [matrix.detach().clone() for matrix, _ in self.pairs]
        for matrix, space in self.pairs:
            if matrix.grad is not None:
                matrix.grad = space(matrix.grad)

    @torch.no_grad()
    def after_step(self, step: int, trainable: Mapping[str, nn.Parameter]) -> None:
        for (matrix, space), before in zip(self.pairs, self.before, strict=True):
            matrix.copy_(before + space(matrix - before))
        self.before = []

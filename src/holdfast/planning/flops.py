"""Floating-point operations of one training step, from shapes.

A multiplication and an addition count as two. With ``T`` positions through a layer of ``n`` weights and ``A`` positions
that one position may attend to in an attention of inner width ``d``:

- forward: ``2 n T`` for every linear layer, patch embedding and added matrix, ``4 A d T`` for every attention
  (scores and weighted values; the mask saves nothing, as in PyTorch's own counter);
- gradient of inputs: as forward, wherever gradients pass through;
- gradient of weights: ``2 n T`` wherever a weight trains; a sparse selection costs its dense gradient;
- gradient checkpointing: the blocks' forward once more, wherever gradients pass through.

The head runs at the positions that have labels only. Norms, activations, rotations, optimizer and penalties are not
counted; nor is what a method does to a matrix itself (Hadamard and Kronecker products, rotations), which does not grow
with the batch. Experts that are fused tensors are not linear layers and are left out; attention in windows is counted
as if it saw the whole image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from holdfast.models.packed import values_in
from holdfast.planning.sites import Site
from holdfast.planning.workload import Workload

QUERIES = ("q_proj", "query", "wq")
FUSED = ("qkv", "qkv_proj", "query_key_value", "c_attn")
"""Layers that make an attention's queries, alone or with its keys and values; there is one an attention."""


@dataclass(frozen=True)
class Flops:
    """Operations of one step; one batch without accumulation."""

    forward: int
    backward: int

    @property
    def step(self) -> int:
        """Forward and backward."""
        return self.forward + self.backward


def count_flops(sites: Iterable[Site], workload: Workload) -> Flops:
    """Operations of one step of ``workload``; the formulas stand at the top of this file."""
    forward = backward = 0
    for site in sites:
        tokens = workload.logits if site.head else workload.tokens(site.component)
        matrix = 2 * matrix_size(site.module) * tokens
        attention = 4 * workload.span(site.component) * attention_width(site) * workload.tokens(site.component)
        forward += matrix + attention
        if site.reached:
            backward += matrix + 2 * attention
            if workload.checkpointing and site.block is not None:
                backward += matrix + attention
        if site.trained:
            backward += matrix
    return Flops(forward, backward)


def matrix_size(module: nn.Module) -> int:
    """Weights that multiply every position; 0 for norms, embeddings and vectors."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
        return values_in(module.weight)
    return 0


def attention_width(site: Site) -> int:
    """Heads times head width of the attention whose queries this layer makes; 0 for every other layer."""
    if site.added or not isinstance(site.module, nn.Linear):
        return 0
    if site.last in FUSED:
        return site.module.out_features // 3
    return site.module.out_features if site.last in QUERIES else 0

"""Which linear layer is attention and which is MLP, told by the modules that stand around it.

Names differ by family (``o_proj``, ``out_proj``, ``projection_layer``, ``dense``), and one name means different
things: ``dense`` is attention or MLP in a Q-Former, ``proj`` is attention in a tower and a projection in a connector.
The modules around a layer say what it is: it is attention when the nearest telling module between it and its block is
one, and likewise for MLP.
"""

from __future__ import annotations

from typing import cast

from torch import nn

from holdfast.models.packed import holds_words

KINDS = ("attention", "mlp")
SIDES = ("mlp_in", "mlp_out")
"""Words for the layers of an MLP that read the residual stream (gate and up) and for the one that writes to it."""


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises: its class is named so in every family."""
    return "norm" in type(module).__name__.lower()


_ATTENTION = ("attention", "attn")
_MLP = ("mlp", "feedforward", "feed_forward", "ffn", "expert", "swiglu")
_OTHER = ("indexer", "mamba", "shortconv")
"""Parts of a block that are neither: a sparse attention's key search is not differentiable, a mixer is not an MLP."""

_LOOSE_MLP = frozenset(
    {"fc1", "fc2", "linear_fc1", "linear_fc2", "lin1", "lin2", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"}
)
"""MLP layers that hang in the block itself, as in OPT."""

MLP_LAST = frozenset({"down_proj", "fc2", "linear_fc2", "w2"})
"""The last layer of an MLP: its inputs are the inner activations."""

STREAM_WRITERS = MLP_LAST | {
    "lin2",
    "wo",
    "o_proj",
    "out_proj",
    "proj",
    "dense",
    "output",
    "projection",
    "projection_layer",
}
"""Layers whose outputs are added to the residual stream."""

_BERT_MLP = ("intermediate", "output")

GATES = frozenset(
    {
        "gate",
        "router",
        "shared_expert_gate",
        "in_proj_a",
        "in_proj_b",
        "in_proj_ba",
        "b_proj",
        "g_proj",
        "weights_proj",
        "weight_proj",
        "sink_proj",
    },
)
"""Routers and per-head gates: a few outputs that steer others. Of no kind; reached by name or by ``all``."""


def kind_of(model: nn.Module, name: str) -> str | None:
    """``attention``, ``mlp`` or None for the linear layer of that full name."""
    parts = name.split(".")
    if parts[-1] in GATES:
        return None
    for depth in range(len(parts) - 1, 0, -1):
        container = model.get_submodule(".".join(parts[: depth - 1]))
        if isinstance(container, nn.ModuleList):
            # The block itself: its class name may say anything (MllamaCrossAttentionDecoderLayer).
            break
        words = (parts[depth - 1].lower(), type(model.get_submodule(".".join(parts[:depth]))).__name__.lower())
        for kind, telling in ((None, _OTHER), ("attention", _ATTENTION), ("mlp", _MLP)):
            if any(word in text for word in telling for text in words):
                return kind
    if parts[-1] in _LOOSE_MLP or (len(parts) > 1 and parts[-2].startswith(_BERT_MLP)):
        return "mlp"
    return None


def mlp_side(name: str, layer: nn.Linear) -> str:
    """``mlp_in`` or ``mlp_out`` for a linear layer of an MLP: by its name, or where that says nothing by its shape."""
    last = name.rpartition(".")[2]
    if last in MLP_LAST | {"lin2"}:
        return "mlp_out"
    if last in _LOOSE_MLP:
        return "mlp_in"
    return "mlp_in" if layer.out_features > layer.in_features else "mlp_out"


def reachable(model: nn.Module) -> dict[str, nn.Linear]:
    """Every linear layer whose own ``forward`` is called.

    ``nn.MultiheadAttention`` reads its output layer's weight without calling the layer, so whatever wraps that layer
    would be ignored in silence.
    """
    inside = {f"{name}.out_proj" for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)}
    return {
        name: cast("nn.Linear", module)
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear) or holds_words(module)) and name not in inside
    }

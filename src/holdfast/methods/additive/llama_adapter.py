"""LLaMA-Adapter (arXiv 2303.16199): prompts that each layer attends to through a gate that starts closed."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.additive.front import AtAttention, Pairs, geometry
from holdfast.methods.contract import Artifact, Card, Context, Options
from holdfast.methods.selective.dense import blocks_in_scope
from holdfast.models.anatomy import Component
from holdfast.values import Keywords

SKIPPED = 2
"""Blocks at the bottom without a prompt: the paper has prompts in the upper 30 of 32."""


class LlamaAdapterOptions(Options):
    """Length and layers."""

    source = "OpenGVLab/LLaMA-Adapter, whose rate of 9e-3 is for 256 examples a step and taken at 64"
    tokens: int = Field(default=10, gt=0, description="prompt tokens of a layer")
    layers: str | tuple[int, ...] | None = Field(
        default=None, description="'last:2', 'first:4', or indices; all but the lowest two if not given"
    )


class _Prompt(nn.Module):
    """A layer's prompt ``[tokens, width]`` and its gates, one a head."""

    def __init__(self, tokens: int, width: int, heads: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.empty(tokens, width))
        self.gate = nn.Parameter(torch.zeros(heads))
        with torch.no_grad():
            self.prompt.normal_(generator=generator)


class LlamaAdapter(AtAttention):
    """``attention + tanh(g) softmax(q kᵀ / sqrt(d)) v`` with keys and values that the layer makes of its prompt.

    The prompt's softmax is its own, and its keys carry no rotation. Gates start at zero, so step 0 is the base.
    """

    card = Card(
        name="llama_adapter",
        paradigm="additive",
        family="prompt",
        summary="gated attention to a prompt in each upper layer",
        paper="arXiv 2303.16199",
        year=2024,
        mergeable=False,
        official_code="OpenGVLab/LLaMA-Adapter",
        extra_inference_cost="a second small attention a layer",
        default_lr=2.25e-3,
        checked_against="the formula, over several steps",
    )
    Settings = LlamaAdapterOptions
    tokens = 0
    asleep = False

    def attach(self, component: Component, context: Context) -> None:
        self.hang(component)
        geometry(self.attention, self.config, self.card.name)
        blocks, scope = component.layers(), self.options.layers
        if scope is None:
            scope = tuple(range(SKIPPED if len(blocks) > SKIPPED else 0, len(blocks)))
        chosen = tuple(f"{path}." for path in blocks_in_scope(component, scope))
        width, heads = int(self.config.hidden_size), int(self.config.num_attention_heads)
        device = next(self.decoder.parameters()).device
        self.prompts: dict[int, _Prompt] = {}
        for index, (name, layer) in enumerate(self.attention.items()):
            if not name.startswith(chosen):
                continue
            if not isinstance(getattr(layer, "k_proj", None), nn.Linear):
                raise HoldfastError(
                    f"method '{self.card.name}' asks '{name}' for keys, which it makes together with other things",
                    remedy="use method prefix",
                )
            self.prompts[index] = _Prompt(self.options.tokens, width, heads, context.generator).to(device)
        self.switch_on()

    def write(self, inputs: Keywords) -> Pairs:
        return []

    def join(self, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        self.used.add(index)
        return key, value

    def beside(self, index: int, query: Tensor, output: Tensor, scaling: float) -> Tensor:
        own = self.prompts.get(index)
        if own is None:
            return output
        layer: Any = list(self.attention.values())[index]
        shape = (1, own.prompt.shape[0], -1, query.shape[-1])
        prompt = own.prompt[None].to(query.dtype)
        keys, values = layer.k_proj(prompt).view(shape), layer.v_proj(prompt).view(shape)
        if hasattr(layer, "k_norm"):
            keys = layer.k_norm(keys)
        repeated = query.shape[1] // keys.shape[2]
        keys, values = (part.transpose(1, 2).repeat_interleave(repeated, dim=1) for part in (keys, values))
        scores = (query.to(keys.dtype) @ keys.transpose(2, 3) * scaling).float().softmax(-1)
        added: Tensor = own.gate.tanh()[:, None, None] * (scores @ values.float())
        return output + added.transpose(1, 2).to(output.dtype)

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return {f"{i}.{part}": p for i, own in self.prompts.items() for part, p in own.named_parameters()}

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.attach(component, Context(torch.Generator()))
        own = self.named_trainable()
        if {n: t.shape for n, t in artifact.tensors.items()} != {n: t.shape for n, t in own.items()}:
            self.switch_off()
            raise HoldfastError(
                "the artifact holds prompts that this model has no place for",
                remedy="load it on the model it was trained on",
            )
        self.load(artifact.tensors, {})
        for parameter in own.values():
            parameter.requires_grad_(False)

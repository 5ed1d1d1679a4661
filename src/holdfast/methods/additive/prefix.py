"""Prefix tuning: learned keys and values that every token of the llm sees in every layer."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Card, Context, Method, Options
from holdfast.methods.registry import register
from holdfast.models.anatomy import Component, decoder_of


class PrefixOptions(Options):
    """Number of virtual tokens and whether they are written through a small network while training."""

    tokens: int = Field(default=20, gt=0)
    reparameterize: bool = Field(default=False, description="embedding, Linear, tanh, Linear (the study's LLaVA code)")


class Prefix(nn.Module):
    """The table ``[tokens, 2 * layers * width]``, stored or written by the reparametrisation network."""

    def __init__(self, options: PrefixOptions, hidden: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.network: nn.Module | None = None
        first = hidden if options.reparameterize else width
        self.table = nn.Parameter(torch.empty(options.tokens, first))
        with torch.no_grad():
            self.table.normal_(0, 0.02 if not options.reparameterize else 1.0, generator=generator)
            if options.reparameterize:
                self.network = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, width))
                for parameter in self.network.parameters():
                    bound = hidden**-0.5
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self) -> Tensor:
        return self.table if self.network is None else torch.as_tensor(self.network(self.table))


@register(
    Card(
        "prefix", "additive", "prompt", "learned keys and values in front of every layer", "arXiv 2101.00190", 2021,
        False, official_code="alenai97/PEFT-MLLM", extra_inference_cost="a longer key-value cache", default_lr=1e-5,
        checked_against="published parameter counts; brute-force attention",
    )
)  # fmt: skip
class PrefixTuning(Method):
    """Fills the llm's empty key-value cache with the prefix before it runs.

    Prefix keys carry no rotation and real tokens count their positions from the prefix's length on, image tokens
    included (arXiv 2406.05130). Only the table is saved; a reparametrisation network is folded into it.
    """

    Settings = PrefixOptions

    def attach(self, component: Component, context: Context) -> None:
        self.component = component
        if component.name != "llm":
            raise HoldfastError(
                f"method 'prefix' works on the llm only, not on '{component.name}'", remedy="write it under tune.llm"
            )
        self.decoder = decoder_of(component.model)
        config: Any = self.decoder.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self.head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.heads, self.layers = int(heads), int(config.num_hidden_layers)
        width = 2 * self.layers * self.heads * self.head_width
        device = next(self.decoder.parameters()).device
        self.prefix = Prefix(self.options, config.hidden_size, width, context.generator).to(device)
        self.handle = self.decoder.register_forward_pre_hook(self._prepend, with_kwargs=True)

    def _keys_and_values(self) -> Tensor:
        """``[layers, 2, heads, tokens, head width]``."""
        flat: Tensor = self.prefix().view(self.options.tokens, self.layers, 2, self.heads, self.head_width)
        return flat.permute(1, 2, 3, 0, 4)

    def _prepend(self, decoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from transformers import DynamicCache

        embeds = kwargs.get("inputs_embeds")
        source = embeds if embeds is not None else kwargs.get("input_ids", args[0] if args else None)
        assert source is not None
        batch, count = source.shape[0], self.options.tokens
        cache = kwargs.get("past_key_values")
        if cache is None:
            cache = DynamicCache(config=decoder.config)
        if cache.get_seq_length() == 0:
            dtype = embeds.dtype if embeds is not None else next(decoder.parameters()).dtype
            for layer, (keys, values) in enumerate(self._keys_and_values().to(dtype)):
                cache.update(keys.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1), layer)
        mask = kwargs.get("attention_mask")
        if mask is not None:
            if mask.ndim != 2:
                raise HoldfastError("method 'prefix' cannot take a block attention mask", remedy="switch sharing off")
            mask = torch.cat([mask.new_ones(batch, count), mask], dim=1)
        positions = kwargs.get("position_ids")
        if positions is not None:
            positions = positions + count
        return args, kwargs | {"past_key_values": cache, "attention_mask": mask, "position_ids": positions}

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.prefix.named_parameters())

    def added(self) -> int:
        return int(2 * self.layers * self.heads * self.head_width * self.options.tokens)

    def detach(self) -> Artifact:
        with torch.no_grad():
            artifact = self._artifact({"table": self.prefix()})
        self.handle.remove()
        return artifact

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.options = self.options.model_copy(update={"reparameterize": False})
        self.attach(component, Context(torch.Generator()))
        self.load(artifact.tensors, {})
        self.prefix.requires_grad_(False)

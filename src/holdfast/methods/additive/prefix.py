"""Prefix tuning: learned keys and values that every token of the llm sees in every attention layer.

They join inside the attention function, where the layer's own keys and values are complete. The key-value cache, the
attention masks and whatever a family computes from them (M-RoPE positions, sliding windows, bidirectional images) stay
as they are, so that ``generate`` and ``forward`` agree in every family by construction.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.additive.attention import MARK, with_prefix
from holdfast.methods.contract import Artifact, Card, Context, Method, Options
from holdfast.models.anatomy import Component
from holdfast.values import Keywords


class PrefixOptions(Options):
    """Number of virtual tokens and whether they are written through a small network while training."""

    source: ClassVar[str] = "alenai97/PEFT-MLLM"
    tokens: int = Field(default=20, gt=0, description="virtual tokens in front")
    reparameterize: bool = Field(default=False, description="embedding, Linear, tanh, Linear (the study's LLaVA code)")
    deviation: float = Field(
        default=1.0, gt=0, description="of the normal draw with which the table starts; 0.02 starts nearer to the base"
    )


class Prefix(nn.Module):
    """The table ``[tokens, 2 * layers * width]``, stored or written by the reparametrisation network."""

    def __init__(self, options: PrefixOptions, hidden: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.network: nn.Module | None = None
        first = hidden if options.reparameterize else width
        self.table = nn.Parameter(torch.empty(options.tokens, first))
        with torch.no_grad():
            self.table.normal_(0, options.deviation, generator=generator)
            if options.reparameterize:
                self.network = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, width))
                for parameter in self.network.parameters():
                    bound = hidden**-0.5
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self) -> Tensor:
        return self.table if self.network is None else torch.as_tensor(self.network(self.table))


class PrefixTuning(Method):
    """Puts learned keys and values before those of the text, in each self-attention layer of the llm.

    Prefix keys carry no rotation and real tokens count their positions from the prefix's length on, image tokens
    included (arXiv 2406.05130). Only the table is saved; a reparametrisation network is folded into it. Layers that
    are no softmax self-attention (linear attention, convolutions, Mllama's cross-attention) have no prefix.
    """

    card = Card(
        name="prefix",
        paradigm="additive",
        family="prompt",
        summary="learned keys and values in front of every layer",
        paper="arXiv 2101.00190",
        year=2021,
        mergeable=False,
        official_code="alenai97/PEFT-MLLM",
        extra_inference_cost="a longer key-value cache",
        default_lr=1e-5,
        checked_against="published parameter counts; brute-force attention",
    )

    Settings = PrefixOptions
    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)

    @property
    def default_lr(self) -> float:
        """The study's rate belongs to its reparametrised form; a table of its own hardly moves at that."""
        return self.card.default_lr if self.options.reparameterize else 1e-2

    def attach(self, component: Component, context: Context) -> None:
        self.component = component
        if component.name != "llm":
            raise HoldfastError(
                f"method 'prefix' works on the llm only, not on '{component.name}'", remedy="write it under tune.llm"
            )
        path, _ = component.layers()[0]
        self.decoder = component.model.get_submodule(path.rsplit(".", 2)[0])
        self.config = cast(Any, self.decoder.config)
        self.attention = _attention_layers(component)
        self.heads, self.head_width = _geometry(self.attention, self.config)
        width = 2 * len(self.attention) * self.heads * self.head_width
        device = next(self.decoder.parameters()).device
        self.prefix = Prefix(self.options, int(self.config.hidden_size), width, context.generator).to(device)
        self.plain = self.config._attn_implementation or "eager"
        self._switch_on()

    def _switch_on(self) -> None:
        for index, layer in enumerate(self.attention.values()):
            object.__setattr__(layer, MARK, (self, index))
        self.config._attn_implementation = with_prefix(self.plain)
        self.handles = [
            self.decoder.register_forward_pre_hook(self._before, with_kwargs=True),
            self.decoder.register_forward_hook(self._after),
        ]

    def _switch_off(self) -> None:
        for handle in self.handles:
            handle.remove()
        for layer in self.attention.values():
            object.__delattr__(layer, MARK)
        self.config._attn_implementation = self.plain

    @contextmanager
    def suspended(self) -> Iterator[None]:
        self._switch_off()
        try:
            yield
        finally:
            self._switch_on()

    def keys_and_values(self) -> Tensor:
        """``[layers, 2, heads, tokens, head width]``."""
        layers = len(self.attention)
        flat: Tensor = self.prefix().view(self.options.tokens, layers, 2, self.heads, self.head_width)
        return flat.permute(1, 2, 3, 0, 4)

    def _before(self, decoder: nn.Module, args: tuple[Any, ...], kwargs: Keywords) -> Any:
        self.current, self.used = self.keys_and_values(), set[int]()
        if not _rotates(decoder):
            return args, kwargs
        positions = kwargs.get("position_ids")
        if positions is None:
            source = kwargs.get("inputs_embeds")
            source = source if source is not None else kwargs.get("input_ids", args[0] if args else None)
            assert source is not None
            cache = kwargs.get("past_key_values")
            seen = 0 if cache is None else cache.get_seq_length()
            positions = torch.arange(source.shape[1], device=source.device).unsqueeze(0) + seen
        return args, kwargs | {"position_ids": positions + self.options.tokens}

    def _after(self, decoder: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if len(self.used) != len(self.attention):
            raise HoldfastError(
                f"{type(decoder).__name__} passed by the prefix in {len(self.attention) - len(self.used)} layers",
                remedy="use another method, such as lora",
            )

    @property
    def tokens(self) -> int:
        """Length of the prefix."""
        return int(self.options.tokens)

    def join(self, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Layer ``index``'s keys and values ``[batch, heads, length, width]`` with the prefix in front.

        Raises:
            HoldfastError: The layer's keys or values have another shape than the configuration says.
        """
        own = self.current[index].to(key.dtype)
        for tensor in (key, value):
            if (tensor.shape[1], tensor.shape[3]) != (self.heads, self.head_width):
                raise HoldfastError(
                    f"method 'prefix' expects {self.heads} heads of {self.head_width}, and a layer has "
                    f"{tensor.shape[1]} of {tensor.shape[3]}",
                    remedy="use another method, such as lora",
                )
        self.used.add(index)
        batch = key.shape[0]
        front = [part.expand(batch, -1, -1, -1) for part in own]
        return torch.cat([front[0], key], dim=2), torch.cat([front[1], value], dim=2)

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.prefix.named_parameters())

    def added(self) -> int:
        return int(2 * len(self.attention) * self.heads * self.head_width * self.options.tokens)

    def detach(self) -> Artifact:
        with torch.no_grad():
            artifact = self._artifact({"table": self.prefix()})
        self._switch_off()
        self.attention = {}
        return artifact

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.options = self.options.model_copy(update={"reparameterize": False})
        self.attach(component, Context(torch.Generator()))
        table = artifact.tensors["table"]
        if table.shape != self.prefix.table.shape:
            self.detach()
            raise HoldfastError(
                f"the artifact holds a prefix of {tuple(table.shape)}, which this model has no place for",
                remedy="load it on the model it was trained on",
            )
        self.load(artifact.tensors, {})
        self.prefix.requires_grad_(False)


def _attention_layers(component: Component) -> dict[str, nn.Module]:
    """The softmax self-attention modules of the llm's blocks, by name.

    Raises:
        HoldfastError: There is none, or they do not call the library's attention function.
    """
    found: dict[str, nn.Module] = {}
    for path, block in component.layers():
        for name, module in block.named_modules():
            kind = type(module).__name__
            if (
                "Attention" in kind
                and not kind.endswith("Layer")
                and "Cross" not in kind
                and isinstance(getattr(module, "layer_idx", None), int)
            ):
                found[f"{path}.{name}"] = module
    reason = "has no softmax self-attention layers" if not found else None
    for module in found.values():
        if "ALL_ATTENTION_FUNCTIONS" not in inspect.unwrap(type(module).forward).__code__.co_names:
            reason = f"computes its attention by itself ({type(module).__name__})"
    if reason is not None:
        raise HoldfastError(
            f"method 'prefix' cannot work here: the llm of {type(component.model).__name__} {reason}",
            remedy="use another method, such as lora",
        )
    return found


def _geometry(attention: dict[str, nn.Module], config: Any) -> tuple[int, int]:
    """Key-value heads and their width.

    Raises:
        HoldfastError: Layers differ, or keys and values are compressed.
    """
    heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    shapes = set()
    for layer in attention.values():
        keys, values = (getattr(layer, name, None) for name in ("k_proj", "v_proj"))
        fused = getattr(layer, "qkv_proj", None)
        if isinstance(keys, nn.Linear) and isinstance(values, nn.Linear):
            shapes |= {keys.out_features, values.out_features}
        elif isinstance(fused, nn.Linear):
            width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
            shapes.add(heads * width)
        else:
            shapes.add(0)
    if len(shapes) != 1 or 0 in shapes:
        raise HoldfastError(
            "method 'prefix' cannot work here: the llm compresses its keys and values, or its layers differ in them",
            remedy="use another method, such as lora",
        )
    return heads, shapes.pop() // heads


def _rotates(decoder: nn.Module) -> bool:
    """Whether positions are rotations made inside this module; learned positions belong to real tokens only."""
    takes = "position_ids" in inspect.signature(decoder.forward).parameters
    return takes and any("rotary" in type(module).__name__.lower() for module in decoder.modules())

"""The engine of what is learned at the attention of the llm: keys and values in front, or attention beside.

It works inside the attention function, where the layer's own keys and values are complete. The key-value cache, the
attention masks and whatever a family computes from them (M-RoPE positions, sliding windows, bidirectional images) stay
as they are, so that ``generate`` and ``forward``, padding on either side and shared rows agree by construction.
"""

from __future__ import annotations

import inspect
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.additive.attention import MARK, with_prefix
from holdfast.methods.contract import Artifact, Method
from holdfast.models.anatomy import Component
from holdfast.values import Keywords

ROWS = "the rows that the llm reads"
"""Ground of methods that count or widen the tokens of a row."""

Pairs = list[tuple[Tensor, Tensor]]
"""Keys and values of every layer, ``[1 or rows, heads, tokens, width]``."""


class AtAttention(Method):
    """A method that works at the softmax self-attention layers of the llm."""

    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    goes_beside = True

    def ground(self, component: Component) -> set[str]:
        return {ROWS}

    @property
    @abstractmethod
    def tokens(self) -> int:
        """How many tokens stand in front: real tokens count their positions from here."""

    @abstractmethod
    def write(self, inputs: Keywords) -> Pairs:
        """The keys and values in front, once a pass through the llm.

        Args:
            inputs: What the llm's ``forward`` was given.
        """

    recorded: dict[int, tuple[Tensor, Tensor]] | None
    """While tokens run alone: what each layer made of them."""

    def hang(self, component: Component) -> None:
        """Find the layers.

        Raises:
            HoldfastError: It is not the llm, or its attention cannot be worked at.
        """
        name = self.card.name
        self.component = component
        if component.name != "llm":
            raise HoldfastError(
                f"method '{name}' works on the llm only, not on '{component.name}'", remedy="write it under tune.llm"
            )
        path, _ = component.layers()[0]
        self.decoder = component.model.get_submodule(path.rsplit(".", 2)[0])
        self.config = cast(Any, self.decoder.config)
        self.attention = attention_layers(component, name)
        self.plain = self.config._attn_implementation or "eager"
        self.kept: tuple[Any, Pairs] | None = None
        self.recorded = None

    def switch_on(self) -> None:
        """Take part in every pass from now on."""
        for index, layer in enumerate(self.attention.values()):
            object.__setattr__(layer, MARK, (self, index))
        self.config._attn_implementation = with_prefix(self.plain)
        self.handles = [
            self.decoder.register_forward_pre_hook(self._before, with_kwargs=True),
            self.decoder.register_forward_hook(self._after),
        ]

    def switch_off(self) -> None:
        """Leave no trace in the model."""
        for handle in self.handles:
            handle.remove()
        for layer in self.attention.values():
            object.__delattr__(layer, MARK)
        self.config._attn_implementation = self.plain
        self.kept = None

    def added(self) -> int:
        return sum(parameter.numel() for parameter in self.named_trainable().values())

    def saved(self) -> Artifact:
        """What :meth:`detach` gives; where a method says nothing else, what trains."""
        return self._artifact(self.named_trainable())

    def detach(self) -> Artifact:
        with torch.no_grad():
            artifact = self.saved()
        self.switch_off()
        self.attention = {}
        return artifact

    @contextmanager
    def suspended(self) -> Iterator[None]:
        self.switch_off()
        try:
            yield
        finally:
            self.switch_on()

    def run_alone(self, hidden: Tensor) -> Pairs:
        """The keys and values that tokens have when nothing stands in front of them.

        What stands behind tokens changes nothing about them, so this is what they are in front of every row.

        Args:
            hidden: ``[depth, 1 or rows, tokens, width]``: what they are as inputs of the first ``depth`` blocks; what
                a later block reads of them is what the block before gave.
        """
        blocks = [block for _, block in self.component.layers()]
        training = [block.training for block in blocks]
        handles = [
            block.register_forward_pre_hook(_given(deep), with_kwargs=True)
            for block, deep in zip(blocks, hidden, strict=False)
        ]
        dtype = next(self.decoder.parameters()).dtype
        self.recorded = {}
        try:
            for block in blocks:
                block.training = False  # gradient checkpointing would compute them where nobody sees
            self.decoder(inputs_embeds=hidden[0].to(dtype), use_cache=False)
            return [self.recorded[index] for index in range(len(self.attention))]
        finally:
            self.recorded = None
            for block, was in zip(blocks, training, strict=True):
                block.training = was
            for handle in handles:
                handle.remove()

    def whole_blocks(self) -> None:
        """Refuse an llm in which tokens in front reach those behind by other ways than keys and values.

        Raises:
            HoldfastError: A block has no softmax self-attention.
        """
        blocks = [f"{path}." for path, _ in self.component.layers()]
        without = [path for path in blocks if not any(name.startswith(path) for name in self.attention)]
        if without:
            raise HoldfastError(
                f"method '{self.card.name}' needs self-attention in every block, and '{without[0][:-1]}' of "
                f"{type(self.component.model).__name__} has none",
                remedy="use method prefix, or lora",
            )

    def _before(self, decoder: nn.Module, args: tuple[Any, ...], kwargs: Keywords) -> Any:
        if self.recorded is not None:
            return None
        self.current, self.used = self._written(kwargs), set[int]()
        if not self.tokens or not _rotates(decoder):
            return args, kwargs
        positions = kwargs.get("position_ids")
        if positions is None:
            source = kwargs.get("inputs_embeds")
            source = source if source is not None else kwargs.get("input_ids", args[0] if args else None)
            assert source is not None
            cache = kwargs.get("past_key_values")
            seen = 0 if cache is None else cache.get_seq_length()
            positions = torch.arange(source.shape[1], device=source.device).unsqueeze(0) + seen
        return args, kwargs | {"position_ids": positions + self.tokens}

    def _written(self, kwargs: Keywords) -> Pairs:
        """What stands in front; written once an answer, whose tokens all come with the same cache."""
        cache = kwargs.get("past_key_values")
        if cache is None:
            return self.write(kwargs)
        if cache.get_seq_length() > 0 and self.kept is not None and self.kept[0]() is cache:
            return self.kept[1]
        pairs = self.write(kwargs)
        self.kept = (weakref.ref(cache), pairs)
        return pairs

    def _after(self, decoder: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self.recorded is None and len(self.used) != len(self.attention):
            left = len(self.attention) - len(self.used)
            raise HoldfastError(
                f"{type(decoder).__name__} passed by method '{self.card.name}' in {left} layers",
                remedy="use another method, such as lora",
            )

    def join(self, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Layer ``index``'s keys and values ``[batch, heads, length, width]`` with its own in front.

        Raises:
            HoldfastError: The layer's keys or values have another shape than what is to stand in front.
        """
        if self.recorded is not None:
            self.recorded[index] = (key, value)
            return key, value
        own = self.current[index]
        for mine, theirs in zip(own, (key, value), strict=True):
            if (mine.shape[1], mine.shape[3]) != (theirs.shape[1], theirs.shape[3]):
                raise HoldfastError(
                    f"method '{self.card.name}' expects {mine.shape[1]} heads of {mine.shape[3]}, and a layer has "
                    f"{theirs.shape[1]} of {theirs.shape[3]}",
                    remedy="use another method, such as lora",
                )
        self.used.add(index)
        front = [part.to(key.dtype).expand(key.shape[0], -1, -1, -1) for part in own]
        return torch.cat([front[0], key], dim=2), torch.cat([front[1], value], dim=2)

    def beside(self, index: int, query: Tensor, output: Tensor, scaling: float) -> Tensor:
        """The attention's output as it is."""
        return output


def _given(hidden: Tensor) -> Callable[..., Any]:
    """A hook that lets a block read ``hidden`` in place of what the block before gave."""

    def give(block: nn.Module, args: tuple[Any, ...], kwargs: Keywords) -> Any:
        read = args[0] if args else kwargs["hidden_states"]
        given = hidden.to(read.dtype).expand_as(read)
        return ((given, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": given})

    return give


def attention_layers(component: Component, method: str) -> dict[str, nn.Module]:
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
            f"method '{method}' cannot work here: the llm of {type(component.model).__name__} {reason}",
            remedy="use another method, such as lora",
        )
    return found


COMMON = 5000
"""Words are drawn from so many first entries of the vocabulary."""


def embedded(component: Component, ids: Sequence[int]) -> Tensor:
    """The llm's own inputs ``[tokens, width]`` for some tokens, in float32."""
    embed: Any = component.model.get_input_embeddings()  # type: ignore[operator]
    with torch.no_grad():
        found: Tensor = embed(torch.tensor(list(ids), device=embed.weight.device)).detach().float()
    return found


def drawn_words(component: Component, count: int, generator: torch.Generator) -> list[int]:
    """Tokens drawn at random, as prompts begin with."""
    embed: Any = component.model.get_input_embeddings()  # type: ignore[operator]
    ids: list[int] = torch.randint(min(COMMON, len(embed.weight)), (count,), generator=generator).tolist()
    return ids


def geometry(attention: dict[str, nn.Module], config: Any, method: str) -> tuple[int, int]:
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
            f"method '{method}' cannot work here: the llm compresses its keys and values, or its layers differ in them",
            remedy="use another method, such as lora",
        )
    return heads, shapes.pop() // heads


def _rotates(decoder: nn.Module) -> bool:
    """Whether positions are rotations made inside this module; learned positions belong to real tokens only."""
    takes = "position_ids" in inspect.signature(decoder.forward).parameters
    return takes and any("rotary" in type(module).__name__.lower() for module in decoder.modules())

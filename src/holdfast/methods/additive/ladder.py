"""Ladder side-tuning (arXiv 2206.06522): a thin network beside the llm that reads its layers and corrects its end."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.additive.caching import append_layers
from holdfast.methods.contract import Artifact, Card, Context, Method, Options
from holdfast.methods.selective.dense import blocks_in_scope
from holdfast.models.anatomy import Component
from holdfast.models.kinds import is_norm
from holdfast.values import Keywords


class LadderOptions(Options):
    """How thin, and where the rungs are."""

    source = "ylsung/Ladder-Side-Tuning"
    reduction: int = Field(default=8, gt=1, description="by which heads and widths are fewer than the llm's")
    temperature: float = Field(default=0.1, gt=0, description="of the gates: sigmoid(g / temperature)")
    layers: str | tuple[int, ...] | None = Field(default=None, description="rungs: 'last:2', 'first:4', or indices")


class _Rungs(nn.Module):
    """Narrower blocks of the llm's own kind, what leads down to each, gates, and a norm and the way up at the end."""

    def __init__(
        self,
        blocks: dict[str, nn.Module],
        config: Any,
        generator: torch.Generator | None,
        *,
        norm: nn.Module,
        width: int,
    ) -> None:
        super().__init__()
        thin = int(config.hidden_size)
        self.enter = nn.Linear(width, thin)
        self.down = nn.ModuleList(nn.Linear(width, thin) for _ in blocks)
        self.blocks = nn.ModuleList(type(block)(config, _number(block)) for block in blocks.values())
        self.gates = nn.Parameter(torch.zeros(len(blocks)))
        kind: Any = type(norm)
        self.norm = kind(thin)
        self.up = nn.Linear(thin, width)
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0, float(getattr(config, "initializer_range", 0.02)), generator=generator)
            for layer in (self.enter, *self.down, self.up):
                cast(nn.Linear, layer).bias.zero_()
            self.up.weight.zero_()


class Ladder(Method):
    """``s <- mu s + (1 - mu) D_i h_i``, then a thin block, rung by rung; ``U norm(s)`` joins the llm's end.

    It is added in front of the llm's last norm. No gradient passes through the llm's layers on its account. The side
    network's keys and values live in the same cache as the llm's. The release starts it from pruned weights of the
    llm, and replaces the llm's output; here it starts at random with ``U = 0`` and is added, so that step 0 is the
    base.
    """

    card = Card(
        name="ladder",
        paradigm="additive",
        family="adapter",
        summary="a thin side network that reads the llm's layers",
        paper="arXiv 2206.06522",
        year=2022,
        mergeable=False,
        official_code="ylsung/Ladder-Side-Tuning",
        extra_inference_cost="a network of an eighth of the width",
        default_lr=3e-3,
        checked_against="the formula, block by block, over several steps",
    )
    Settings = LadderOptions
    asleep = False

    def attach(self, component: Component, context: Context) -> None:
        if component.name != "llm":
            raise HoldfastError(
                f"method 'ladder' works on the llm only, not on '{component.name}'", remedy="write it under tune.llm"
            )
        self.component = component
        path, _ = component.layers()[0]
        self.decoder = component.model.get_submodule(path.rsplit(".", 2)[0])
        self.config = cast(Any, self.decoder.config)
        self.rungs = blocks_in_scope(component, self.options.layers)
        self.thin = _thinner(self.config, self.options.reduction)
        norm = [module for module in self.decoder.children() if is_norm(module)]
        device = next(self.decoder.parameters()).device
        width = int(self.config.hidden_size)
        try:
            if not norm:
                raise ValueError("it has no norm behind its last block")
            side = _Rungs(self.rungs, self.thin, context.generator, norm=norm[-1], width=width)
        except (TypeError, ValueError, AttributeError, IndexError, KeyError, RuntimeError) as error:
            raise HoldfastError(
                f"method 'ladder' cannot make the blocks of {type(self.decoder).__name__} narrower "
                f"({' '.join(str(error).split())[:120]})",
                remedy="use another method, such as lora",
            ) from error
        self.side = side.to(device)
        self._hang(norm[-1])

    def _hang(self, norm: nn.Module) -> None:
        first = self.component.layers()[0][1]
        self.read: dict[int, tuple[Tensor, Keywords]] = {}
        self.handles = [first.register_forward_pre_hook(self._entering, with_kwargs=True)]
        for index, block in enumerate(self.rungs.values()):
            self.handles.append(block.register_forward_hook(self._reading(index), with_kwargs=True, prepend=True))
        self.handles.append(norm.register_forward_pre_hook(self._leaving))

    def _entering(self, block: nn.Module, args: tuple[Any, ...], kwargs: Keywords) -> None:
        self.entered = (args[0] if args else kwargs["hidden_states"]).detach()

    def _reading(self, index: int) -> Any:
        def read(block: nn.Module, args: tuple[Any, ...], kwargs: Keywords, output: Any) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            self.read[index] = (hidden.detach(), {k: v for k, v in kwargs.items() if k != "hidden_states"})

        return read

    def _leaving(self, norm: nn.Module, args: tuple[Any, ...]) -> Any:
        if self.asleep:
            return None
        self.thin._attn_implementation = self.config._attn_implementation
        stream = self.side.enter(self.entered.to(self.side.enter.weight.dtype))
        for index, own in enumerate(self.rungs.values()):
            hidden, given = self.read[index]
            share = (self.side.gates[index] / self.options.temperature).sigmoid()
            stream = share * stream + (1 - share) * self.side.down[index](hidden.to(self.side.enter.weight.dtype))
            cache, block = given.get("past_key_values"), self.side.blocks[index]
            if cache is not None:
                place = append_layers(cache, len(self.component.layers()), index, like=_number(own))
                for module in block.modules():
                    if isinstance(getattr(module, "layer_idx", None), int):
                        module.layer_idx = place  # type: ignore[assignment]
            stream = block(stream, **given)
            stream = stream[0] if isinstance(stream, tuple) else stream
        added: Tensor = self.side.up(self.side.norm(stream))
        return (args[0] + added.to(args[0].dtype), *args[1:])

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.side.named_parameters())

    def added(self) -> int:
        return sum(parameter.numel() for parameter in self.side.parameters())

    @contextmanager
    def suspended(self) -> Iterator[None]:
        self.asleep = True
        try:
            yield
        finally:
            self.asleep = False

    def _take_off(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.read = {}

    def detach(self) -> Artifact:
        artifact = self._artifact(self.named_trainable())
        self._take_off()
        return artifact

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.attach(component, Context(torch.Generator()))
        own = self.named_trainable()
        if {n: t.shape for n, t in artifact.tensors.items()} != {n: t.shape for n, t in own.items()}:
            self._take_off()
            raise HoldfastError(
                "the artifact holds a side network of another shape", remedy="load it on the model it was trained on"
            )
        self.load(artifact.tensors, {})
        self.side.requires_grad_(False).eval()


def _number(block: nn.Module) -> int:
    """Which block of the llm it is, as the library counts."""
    numbers = (getattr(module, "layer_idx", None) for module in block.modules())
    return next(number for number in numbers if isinstance(number, int))


def _thinner(config: Any, reduction: int) -> Any:
    """The llm's configuration with fewer heads and widths; a head is as wide as before, so that positions fit.

    Raises:
        HoldfastError: There are not so many heads.
    """
    heads = int(config.num_attention_heads)
    if reduction > heads:
        raise HoldfastError(
            f"reduction {reduction} is above the {heads} heads of the llm", remedy=f"choose at most {heads}"
        )
    thin = copy.deepcopy(config)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    thin.num_attention_heads = heads // reduction
    shared = int(getattr(config, "num_key_value_heads", None) or heads)
    kept = max(1, shared // reduction)
    thin.num_key_value_heads = kept if thin.num_attention_heads % kept == 0 else 1
    thin.hidden_size, thin.head_dim = width * thin.num_attention_heads, width
    for name in ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"):
        if isinstance(getattr(config, name, None), int):
            setattr(thin, name, max(1, getattr(config, name) // reduction))
    return thin

"""The engine of changes beside a frozen weight: ``W0 x + (change - change0) x``.

A method says what stands beside a linear layer and how it starts; everything else is this engine's: it is hung onto the
layers by hooks, switched off, taken off, saved, laid on a fresh base, merged and counted, and the base's own weights
are never written. A change that starts elsewhere than at zero (PiSSA, MiLoRA) is taken against a frozen copy of its
start, so that step 0 is the base, and so is the suspended model, bit for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import AliasChoices, Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Card, Context, Method, Options, Paradigm
from holdfast.methods.selective.dense import Scope, linears_in_scope
from holdfast.models.anatomy import Component


@dataclass(frozen=True, kw_only=True)
class LowRankCard(Card):
    """What stands beside a layer costs nothing more once it is folded into it."""

    paradigm: Paradigm = "reparameterization"
    extra_inference_cost: str = "none once merged"


class LowRankOptions(Scope):
    """Which layers, the rank and the scale."""

    r: int = Field(default=32, gt=0, description="rank")
    alpha: float | None = Field(
        default=64, gt=0, validation_alias=AliasChoices("alpha", "lora_alpha"), description="scale, over r"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, validation_alias=AliasChoices("dropout", "lora_dropout"), description="on the input"
    )


class Change(nn.Module):
    """What stands beside one linear layer; trains what requires a gradient."""

    def weight(self) -> Tensor:
        """The change of the layer's weight, ``[out, in]``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the layer's output, ``[..., in] -> [..., out]``."""
        return functional.linear(x, self.weight().to(x.dtype))

    def square(self) -> Tensor:
        """The squared Frobenius norm of :meth:`weight`."""
        return self.weight().square().sum()


class Scaled(Change):
    """One with LoRA's scale and dropout, made for a layer from its method's options."""

    def __init__(self, layer: nn.Linear, options: Any, scale: float) -> None:
        super().__init__()
        self.scale, self.dropout = scale, float(options.dropout)

    def dropped(self, x: Tensor, like: Tensor) -> Tensor:
        """The layer's input with dropout, in the precision of a factor."""
        return functional.dropout(x, self.dropout, self.training).to(like.dtype)


class Factors(Scaled):
    """``scale * B A``: ``A [r, in]``, ``B [out, r]``, both trained, in float32; ``rank`` takes the place of ``r``."""

    def __init__(self, layer: nn.Linear, options: Any, scale: float, rank: int | None = None) -> None:
        super().__init__(layer, options, scale)
        r = int(options.r) if rank is None else rank
        self.A = nn.Parameter(empty(layer, r, layer.in_features))
        self.B = nn.Parameter(empty(layer, layer.out_features, r))

    def factors(self) -> tuple[Tensor, Tensor]:
        """``[out, k]`` and ``[k, in]``, whose product is the change but for the scale: ``B`` and ``A``."""
        return self.B, self.A

    def weight(self) -> Tensor:
        left, right = self.factors()
        return self.scale * (left @ right)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.factors()
        return functional.linear(functional.linear(self.dropped(x, right), right), left) * self.scale

    def square(self) -> Tensor:
        left, right = self.factors()
        return self.scale**2 * ((left.T @ left) * (right @ right.T)).sum()


class _Beside(nn.Module):
    """A change at its layer: switched on or off, and taken against its start where that is not zero."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change
        self.start: Change | None = None
        self.asleep = False

    def anchor(self) -> None:
        """From here on the change counts against what it is now."""
        self.start = copy.deepcopy(self.change).requires_grad_(False)

    def train(self, mode: bool = True) -> _Beside:
        super().train(mode)
        if self.start is not None:
            self.start.eval()  # the start is what it was, without dropout
        return self

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        if self.asleep:
            return output
        added: Tensor = self.change(x)
        if self.start is not None:
            added = added - self.start(x.to(added.dtype))
        return output + added.to(output.dtype)

    def weight(self) -> Tensor:
        """The whole change of the layer's weight."""
        weight = self.change.weight()
        return weight if self.start is None else weight - self.start.weight()


class LowRank(Method):
    """A method that puts a :class:`Change` beside every chosen linear layer."""

    Settings: ClassVar[type[Options]] = LowRankOptions
    default_modules: ClassVar[tuple[str, ...]] = ("attention", "mlp")
    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    goes_beside = True
    change: ClassVar[type[Scaled]] = Factors
    """What stands beside each layer, for methods that need no :meth:`build` of their own."""
    sites: dict[str, _Beside]

    def build(self, name: str, layer: nn.Linear) -> Change:
        """The change of one layer, by its shape alone; values are filled in by :meth:`start` or from an artifact.

        What several layers share is kept on ``self`` from :meth:`share` and put into each of them.
        """
        return self.change(layer, self.options, self.scale)

    def share(self, layers: Mapping[str, nn.Linear]) -> None:
        """Called before the first :meth:`build`: make what layers have in common."""

    def start(self, name: str, layer: nn.Linear, change: Any, context: Context) -> None:
        """Fill in the values with which training begins: as LoRA's, ``A`` by Kaiming's rule and ``B`` zero."""
        kaiming(change.A, context.generator)
        change.B.zero_()

    def begin(self, context: Context) -> None:
        """Called once before the first :meth:`start`: look at data, fill in what is shared."""

    def fits(self, layer: nn.Linear) -> str | None:
        """Why the options do not fit a layer, as ``clause; remedy``, or nothing."""
        width, rank = min(layer.in_features, layer.out_features), getattr(self.options, "r", 0)
        return f"rank {rank} is above the width {width}; choose r of at most {width}" if rank > width else None

    @property
    def scale(self) -> float:
        """``alpha / r``; 1 where no ``alpha`` is given."""
        return 1.0 if self.options.alpha is None else float(self.options.alpha) / int(self.options.r)

    def attach(self, component: Component, context: Context) -> None:
        self.hang(component)
        try:
            # Asleep: whoever looks at data now is to see the base, and the changes hold no values yet.
            with torch.no_grad(), self.suspended():
                self.begin(context)
                for name, beside in self.sites.items():
                    self.start(name, self.layers[name], beside.change, context)
                    if self.anchored(beside.change):
                        beside.anchor()
        except BaseException:
            self.take_off()
            raise

    def anchored(self, change: Change) -> bool:
        """Whether a change that has just started is not zero."""
        return bool(change.weight().any())

    def sketch(self, component: Component, generator: torch.Generator) -> None:
        self.hang(component)

    def hang(self, component: Component) -> None:
        """Put changes of the right shapes beside the chosen layers.

        Raises:
            HoldfastError: The component has no such layer, or an option does not fit one.
        """
        self.component = component
        self.layers = self._chosen(component)
        for name, layer in self.layers.items():
            fault = self.fits(layer)
            if fault is not None:
                what, _, remedy = fault.partition("; ")
                raise HoldfastError(f"{what} of layer '{name}'", remedy=remedy)
        self.share(self.layers)
        self.sites, self.handles = {}, list[RemovableHandle]()
        for name, layer in self.layers.items():
            beside = _Beside(self.build(name, layer)).train(component.model.training)
            layer.add_module(self._slot, beside)
            self.sites[name] = beside
            self.handles.append(layer.register_forward_hook(self._add))

    def _chosen(self, component: Component) -> dict[str, nn.Linear]:
        return linears_in_scope(component, self.options, self.default_modules)

    def ground(self, component: Component) -> set[str]:
        # A bias is added behind the product and may be another's.
        return {f"{name}.weight" for name in self._chosen(component)}

    @property
    def _slot(self) -> str:
        return f"holdfast_{self.card.name}"

    def _add(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Any:
        return layer.get_submodule(self._slot)(inputs[0], output)

    def take_off(self) -> None:
        """Remove hooks and modules."""
        for handle in self.handles:
            handle.remove()
        for name in self.sites:
            del self.layers[name]._modules[self._slot]
        self.sites, self.handles = {}, []

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor by ``layer:name``; what is shared stands under the first layer that has it."""
        found: dict[int, tuple[str, Tensor]] = {}
        for name, beside in self.sites.items():
            for part, tensor in [*beside.named_parameters(), *beside.named_buffers()]:
                found.setdefault(id(tensor), (f"{name}:{part.removeprefix('change.')}", tensor))
        return dict(found.values())

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return {n: t for n, t in self._tensors().items() if isinstance(t, nn.Parameter) and t.requires_grad}

    def added(self) -> int:
        return sum(tensor.numel() for name, tensor in self._tensors().items() if ":start." not in name)

    def squares(self) -> list[Tensor]:
        if not self.card.mergeable:
            return []  # what depends on the input is no change of a weight
        return [_square(beside) for beside in self.sites.values()]

    def input_rows(self) -> dict[str, nn.Parameter]:
        changes = {name: beside.change for name, beside in self.sites.items() if beside.start is None}
        return {name: change.A for name, change in changes.items() if type(change) is Factors and self.card.mergeable}

    def weight_changes(self) -> dict[str, tuple[Tensor, Tensor]]:
        if not self.card.mergeable:
            return {}
        return {name: (self.layers[name].weight, beside.weight()) for name, beside in self.sites.items()}

    @contextmanager
    def suspended(self) -> Iterator[None]:
        try:
            for beside in self.sites.values():
                beside.asleep = True
            yield
        finally:
            for beside in self.sites.values():
                beside.asleep = False

    def detach(self) -> Artifact:
        artifact = self._artifact(self._tensors())
        self.take_off()
        return artifact

    @torch.no_grad()
    def restore(self, component: Component, artifact: Artifact) -> None:
        self.hang(component)
        for name, beside in self.sites.items():
            if any(key.startswith(f"{name}:start.") for key in artifact.tensors):
                beside.anchor()
        own = self._tensors()
        if own.keys() != artifact.tensors.keys() or any(own[n].shape != t.shape for n, t in artifact.tensors.items()):
            odd = sorted(own.keys() ^ artifact.tensors.keys()) or list(own)
            self.take_off()
            raise HoldfastError(
                f"the artifact and this model differ in '{odd[0]}'", remedy="load it on the model it was trained on"
            )
        for name, tensor in own.items():
            tensor.copy_(artifact.tensors[name])
            tensor.requires_grad_(False)

    @torch.no_grad()
    def merge(self) -> None:
        if not self.card.mergeable:
            raise HoldfastError(
                f"method '{self.card.name}' cannot be folded into the weights", remedy="load the run with holdfast.load"
            )
        for name, beside in self.sites.items():
            weight = self.layers[name].weight
            weight.copy_(weight.float() + beside.weight())
        self.take_off()


def _square(beside: _Beside) -> Tensor:
    """The squared norm of a layer's whole change; by its factors where there is no start to take off."""
    return beside.change.square() if beside.start is None else beside.weight().square().sum()


def empty(layer: nn.Linear, *shape: int) -> Tensor:
    """A float32 tensor where the layer is, without values."""
    return torch.empty(*shape, device=layer.weight.device, dtype=torch.float32)


@torch.no_grad()
def fill(tensor: Tensor, values: Tensor) -> None:
    """Write values that were drawn or computed elsewhere."""
    tensor.copy_(values.to(tensor.device))


def normal(tensor: Tensor, generator: torch.Generator, deviation: float = 1.0) -> None:
    """Draw ``N(0, deviation)`` on the CPU, so that every device starts alike."""
    fill(tensor, torch.randn(tensor.shape, generator=generator) * deviation)


def kaiming(tensor: Tensor, generator: torch.Generator, *, fan: int | None = None) -> None:
    """LoRA's start of ``A``: uniform within ``1 / sqrt(fan in)``, which is Kaiming's rule with a slope of sqrt(5)."""
    bound = (tensor.shape[-1] if fan is None else fan) ** -0.5
    fill(tensor, (torch.rand(tensor.shape, generator=generator) * 2 - 1) * bound)

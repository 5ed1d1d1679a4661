"""The engine of small modules at places of a model: in front of a module, behind it, or beside it.

A method says where, and what stands there; hanging it on by hooks, switching it off, taking it off, saving, laying it
on a fresh base and counting are this engine's. The base's own weights are never written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Context, Method, input_of, output_of
from holdfast.models.anatomy import Component
from holdfast.values import Keywords


@dataclass(frozen=True)
class Spot:
    """A place.

    Attributes:
        module: Where the hook hangs.
        width: Of what flows there.
        side: ``front`` changes what the module reads, ``behind`` what it gives; ``beside`` changes what it gives, too,
            and is told what the module read.
    """

    module: nn.Module
    width: int
    side: Literal["front", "behind", "beside"]


class Insert(nn.Module):
    """What stands at a site; ``asleep`` it changes nothing."""

    asleep = False

    def change(self, flowing: Tensor, read: Tensor) -> Tensor:
        """What takes the place of ``flowing [..., width]``.

        Args:
            flowing: What flows at the site.
            read: What the module of a site ``beside`` has read; elsewhere the same as ``flowing``.
        """
        raise NotImplementedError

    def forward(self, flowing: Tensor, read: Tensor | None = None) -> Tensor:
        return flowing if self.asleep else self.change(flowing, flowing if read is None else read)


class Inserted(Method):
    """A method that puts an :class:`Insert` at every one of its sites."""

    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    goes_beside = True
    places: dict[str, Spot]

    def sites(self, component: Component) -> dict[str, Spot]:
        """Where, by a name that is stable across runs.

        Raises:
            HoldfastError: The component has no such place, or an option does not fit it.
        """
        raise NotImplementedError

    def build(self, name: str, site: Spot, generator: torch.Generator | None) -> Insert:
        """What stands at a site, with the values that training begins with."""
        raise NotImplementedError

    def begin(self, component: Component) -> list[RemovableHandle]:
        """Hooks beside those of the sites, hung on with them."""
        return []

    def ground(self, component: Component) -> set[str]:
        # Two in one place would act in an order that nobody has said.
        names = {id(module): name for name, module in component.model.named_modules()}
        return {
            (input_of if site.side == "front" else output_of)(names[id(site.module)])
            for site in self.sites(component).values()
        }

    def attach(self, component: Component, context: Context) -> None:
        self.hang(component, context.generator)

    def hang(self, component: Component, generator: torch.Generator | None) -> None:
        """Put the modules where they belong."""
        self.component = component
        self.places = self.sites(component)
        self.handles = self.begin(component)
        for name, site in self.places.items():
            block = self.build(name, site, generator)
            home = next((p.device for p in site.module.parameters()), None)
            site.module.add_module(self._slot, block if home is None else block.to(home))
            block.train(component.model.training)
            if site.side == "front":
                self.handles.append(site.module.register_forward_pre_hook(self._front, with_kwargs=True))
            else:
                hook = self._behind if site.side == "behind" else self._beside
                # First of all: whoever records what a block gives is to record what goes on.
                self.handles.append(site.module.register_forward_hook(hook, with_kwargs=True, prepend=True))

    @property
    def _slot(self) -> str:
        return f"holdfast_{self.card.name}"

    def _front(self, module: nn.Module, args: tuple[Any, ...], kwargs: Keywords) -> tuple[tuple[Any, ...], Keywords]:
        block = module.get_submodule(self._slot)
        if args:
            return (block(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": block(kwargs["hidden_states"])}

    def _behind(self, module: nn.Module, args: tuple[Any, ...], kwargs: Keywords, output: Any) -> Any:
        block = module.get_submodule(self._slot)
        return (block(output[0]), *output[1:]) if isinstance(output, tuple) else block(output)

    def _beside(self, module: nn.Module, args: tuple[Any, ...], kwargs: Keywords, output: Any) -> Any:
        block, read = module.get_submodule(self._slot), args[0] if args else kwargs["hidden_states"]
        return (block(output[0], read), *output[1:]) if isinstance(output, tuple) else block(output, read)

    def blocks(self) -> dict[str, Insert]:
        """The inserted modules by the names of their sites."""
        return {name: cast(Insert, site.module.get_submodule(self._slot)) for name, site in self.places.items()}

    def take_off(self) -> None:
        """Remove hooks and modules."""
        for handle in self.handles:
            handle.remove()
        for site in self.places.values():
            del site.module._modules[self._slot]
        self.places = {}

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return {f"{n}.{part}": p for n, block in self.blocks().items() for part, p in block.named_parameters()}

    def added(self) -> int:
        return sum(parameter.numel() for parameter in self.named_trainable().values())

    @contextmanager
    def suspended(self) -> Iterator[None]:
        blocks = self.blocks().values()
        try:
            for block in blocks:
                block.asleep = True
            yield
        finally:
            for block in blocks:
                block.asleep = False

    def detach(self) -> Artifact:
        artifact = self._artifact(self.named_trainable())
        self.take_off()
        return artifact

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.hang(component, torch.Generator())
        own = self.named_trainable()
        if own.keys() != artifact.tensors.keys() or any(own[n].shape != t.shape for n, t in artifact.tensors.items()):
            odd = sorted(own.keys() ^ artifact.tensors.keys()) or list(own)
            self.take_off()
            raise HoldfastError(
                f"the artifact and this model differ in '{odd[0]}'", remedy="load it on the model it was trained on"
            )
        self.load(artifact.tensors, {})
        for parameter in own.values():
            parameter.requires_grad_(False)

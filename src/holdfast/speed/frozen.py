"""Keep frozen image encoders out of the autograd graph, whatever hooks would pull them in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.models.anatomy import Anatomy


@contextmanager
def without_graph(model: nn.Module, anatomy: Anatomy, frozen: Collection[str]) -> Iterator[list[str]]:
    """Inside, the frozen modules of the vision encoder and the connector run under ``no_grad``.

    ``enable_input_require_grads()``, which PEFT and gradient checkpointing call, makes the patch embedding's output
    require a gradient; the whole tower then joins the graph and keeps its activations. Here each forward decides by
    what is true at that moment: nothing inside trains, and nothing that comes in requires a gradient.

    Args:
        model: The whole model.
        anatomy: Its components.
        frozen: Names of the components that nothing changes, of ``vision`` and ``connector``.

    Yields:
        Names of the guarded modules: the largest ones that hold frozen parameters only.
    """
    owned = {id(p) for name in frozen for p in anatomy.component(name).parameters.values()}
    guarded = list(_largest(model, owned))
    originals: dict[nn.Module, Callable[..., Any] | None] = {}
    try:
        for _, module in guarded:
            originals[module] = module.__dict__.get("forward")
            module.forward = _guard(module, module.forward)
        yield [name for name, _ in guarded]
    finally:
        for module, own in originals.items():
            if own is None:
                del module.__dict__["forward"]
            else:
                module.forward = own


def _largest(module: nn.Module, owned: set[int], name: str = "") -> Iterator[tuple[str, nn.Module]]:
    parameters = list(module.parameters())
    if not parameters:
        return
    callable_ = not isinstance(module, nn.ModuleList | nn.ModuleDict)
    if callable_ and owned.issuperset(map(id, parameters)):
        yield name, module
        return
    if owned.isdisjoint(map(id, parameters)):
        return
    for child, inner in module.named_children():
        yield from _largest(inner, owned, f"{name}.{child}" if name else child)


def _guard(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(*arguments: Any, **keywords: Any) -> Any:
        needed = any(parameter.requires_grad for parameter in module.parameters()) or any(
            isinstance(value, Tensor) and value.requires_grad for value in (*arguments, *keywords.values())
        )
        if needed:
            return forward(*arguments, **keywords)
        with torch.no_grad():
            return forward(*arguments, **keywords)

    return guarded

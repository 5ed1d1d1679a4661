"""Where the work of a step is done: every layer with a weight, and whether gradients pass through it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from holdfast.methods.recipe import Recipe
from holdfast.models.anatomy import Anatomy, Component, output_head

WRAPPED = ".base_layer"
"""How the name of a layer ends that PEFT has wrapped; what is before it is the wrapper's."""


@dataclass(frozen=True)
class Site:
    """One module that holds a weight.

    Attributes:
        component: The component it belongs to.
        name: Its full module name.
        module: The module, on the meta device.
        block: The index of the repeated block it stands in, or ``None``.
        trained: Whether its weight (or entries of it) trains.
        added: Whether a method put it there.
        reached: Whether gradients pass through it.
        head: Whether it is the output head.
        dropout: Whether dropout stands in front of an added matrix.
        changed: Of a linear layer that a method added something to: the layer as the model calls it.
        owner: Of an added module: the name of the linear layer that it was added to, if it was one.
    """

    component: str
    name: str
    module: nn.Module
    block: int | None
    trained: bool
    added: bool
    reached: bool
    head: bool
    dropout: bool = False
    changed: nn.Module | None = None
    owner: str | None = None

    @property
    def last(self) -> str:
        """The last part of the layer's name, wrappers left out."""
        return self.name.removesuffix(WRAPPED).rsplit(".", 1)[-1]


def find_sites(recipe: Recipe, anatomy: Anatomy) -> list[Site]:
    """Every weight-holding module of an attached model, in the order of the forward pass within a component.

    Gradients pass through a component from its first trained block on, and through all of it where an earlier
    component trains: vision, connector, llm.
    """
    sites: list[Site] = []
    before = False
    for component in anatomy:
        method = recipe.methods[component.name]
        parts = method.parts() if component.name in recipe.active else []
        trainable = method.named_trainable() if parts else {}
        touched = {name for part in parts for name in (*part.named_trainable(), *part.moves())}
        sites += _of_component(component, {id(p) for p in trainable.values()}, touched, everything=before)
        before = before or bool(trainable)
    return sites


def _of_component(component: Component, trainable: set[int], touched: set[str], *, everything: bool) -> list[Site]:
    blocks = _blocks(component)
    owned = set(map(id, component.parameters.values()))
    head = output_head(component.model)
    rows: list[tuple[str, nn.Module, int, int | None, bool]] = []
    seen_blocks = False
    for name, module in component.model.named_modules():
        own = list(module.parameters(recurse=False))
        if not own or not any(id(p) in owned or id(p) in trainable for p in own):
            continue
        block = _inside(name, blocks)
        seen_blocks = seen_blocks or block is not None
        position = block if block is not None else (len(blocks) if seen_blocks or module is head else -1)
        rows.append((name, module, position, block, not any(id(p) in owned for p in own)))
    linears = {
        name.removesuffix(WRAPPED): name for name, m, *_, added in rows if isinstance(m, nn.Linear) and not added
    }
    owners = {name: _above(name, linears) for name, *_, added in rows if added}
    changed = {linears[owner]: component.model.get_submodule(owner) for owner in owners.values() if owner is not None}
    first = _first_trained(component, rows, blocks, touched)
    sites = []
    for name, module, position, block, added in rows:
        trained = any(
            id(p) in trainable or f"{name}.{part}" in touched for part, p in module.named_parameters("", False)
        )
        reached = everything or (first is not None and position >= first)
        sites.append(
            Site(
                component=component.name,
                name=name,
                module=module,
                block=block,
                trained=trained,
                added=added,
                reached=reached,
                head=module is head,
                dropout=added and _has_dropout(component.model, name),
                changed=changed.get(name),
                owner=owners.get(name),
            )
        )
    return sites


def _above(name: str, known: Container[str]) -> str | None:
    """The nearest of the known names that it stands below."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def _has_dropout(model: nn.Module, name: str) -> bool:
    """Whether the layer that an added matrix hangs on (two names up) drops anything out."""
    owner = model.get_submodule(".".join(name.split(".")[:-2]))
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in owner.modules())


def _blocks(component: Component) -> list[str]:
    """Names of the repeated blocks; methods may have added parameters to them since the anatomy was taken."""
    lists: dict[str, int] = {}
    for name, module in component.model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module):
            inside = sum(p.numel() for full, p in component.parameters.items() if full.startswith(name + "."))
            if inside:
                lists[name] = inside
    if not lists:
        return []
    best = max(lists, key=lambda name: lists[name])
    chosen = component.model.get_submodule(best)
    assert isinstance(chosen, nn.ModuleList)
    return [f"{best}.{index}" for index in range(len(chosen))]


def _inside(name: str, blocks: Iterable[str]) -> int | None:
    for index, block in enumerate(blocks):
        if name == block or name.startswith(block + "."):
            return index
    return None


def _first_trained(
    component: Component,
    rows: list[tuple[str, nn.Module, int, int | None, bool]],
    blocks: list[str],
    touched: set[str],
) -> int | None:
    """The position of the first module that holds a touched parameter; -1 is in front of every block."""
    if not touched:
        return None
    positions: Mapping[str, int] = {name: position for name, _, position, _, _ in rows}
    found = []
    for parameter in touched:
        # What stands in no module, such as a prefix, is seen by every block.
        found.append(positions.get(_above(parameter, positions) or "", 0 if blocks else -1))
    return min(found)

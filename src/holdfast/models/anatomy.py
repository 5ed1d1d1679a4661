"""Which parameters are the vision encoder, the connector and the llm of an image-text-to-text model.

The only place that resolves names to parameters. A component is a set of parameters; every parameter belongs to
exactly one. The rule is structural and needs no list of families:

- **llm**: everything below ``get_decoder()``, and the output head;
- **vision**: everything below ``get_encoder(modality="image")``, except
- **connector**: the rest, and those parts of the tower that hand its result to the llm (``merger`` and
  ``deepstack_merger_list`` in Qwen-VL and GLM-4V stand inside the tower).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from holdfast.errors import HoldfastError

COMPONENTS = ("vision", "connector", "llm")

_CONNECTOR_INSIDE_TOWER = ("merger", "deepstack_merger_list", "downsample")
"""Children of a tower that project into the llm's space; found in Qwen2/2.5/3-VL and GLM-4V."""

KINDS: dict[str, tuple[str, ...]] = {
    "attention": (
        "q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "qkv", "qkv_proj", "proj", "query", "key", "value",
        "query_key_value", "dense",
    ),
    "mlp": ("gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2", "linear_fc1", "linear_fc2", "w1",
            "w2", "w3"),
}  # fmt: skip
"""Kinds of linear layers by the last part of their module name, in every supported family."""


@dataclass(frozen=True)
class Component:
    """One component: its parameters by full name, and the modules that hold them."""

    name: str
    model: nn.Module
    parameters: dict[str, nn.Parameter]

    def count(self) -> int:
        """Number of values, tied parameters once."""
        return sum(parameter.numel() for parameter in {id(p): p for p in self.parameters.values()}.values())

    def modules(self) -> dict[str, nn.Module]:
        """Modules all of whose own parameters belong to this component, by full name."""
        owned = set(map(id, self.parameters.values()))
        found: dict[str, nn.Module] = {}
        for name, module in self.model.named_modules():
            own = list(module.parameters(recurse=False))
            if own and all(id(parameter) in owned for parameter in own):
                found[name] = module
        return found

    def linears(self, kinds: Iterable[str] = ("attention", "mlp")) -> dict[str, nn.Linear]:
        """The linear layers of the named kinds, by full module name.

        Args:
            kinds: Of ``attention``, ``mlp``, ``all`` (every linear layer but the output head), or last parts of
                module names such as ``q_proj``.

        Raises:
            HoldfastError: A kind that no layer of the component has.
        """
        head = output_head(self.model)
        layers = {
            name: module
            for name, module in self.modules().items()
            if isinstance(module, nn.Linear) and module is not head
        }
        chosen: dict[str, nn.Linear] = {}
        for kind in kinds:
            if kind == "all":
                hits = layers
            else:
                wanted = KINDS.get(kind, (kind,))
                hits = {name: layer for name, layer in layers.items() if name.rsplit(".", 1)[-1] in wanted}
            if not hits:
                present = sorted({name.rsplit(".", 1)[-1] for name in layers})
                raise HoldfastError(
                    f"component '{self.name}' has no linear layer of kind '{kind}'",
                    remedy="present: " + (", ".join(present) or "none"),
                )
            chosen |= hits
        return {name: layers[name] for name in layers if name in chosen}

    def layers(self) -> list[tuple[str, nn.Module]]:
        """The repeated blocks in order, as (full name, block); empty for a component without any."""
        best: list[tuple[str, nn.Module]] = []
        owned = set(map(id, self.parameters.values()))
        for name, module in self.model.named_modules():
            if not isinstance(module, nn.ModuleList) or len(module) <= len(best):
                continue
            if all(id(parameter) in owned for parameter in module.parameters()) and any(
                True for _ in module.parameters()
            ):
                best = [(f"{name}.{index}", block) for index, block in enumerate(module)]
        return best


@dataclass(frozen=True)
class Anatomy:
    """The three components of one model."""

    vision: Component
    connector: Component
    llm: Component

    def component(self, name: str) -> Component:
        """The component of that name.

        Raises:
            HoldfastError: There is no such component.
        """
        if name not in COMPONENTS:
            raise HoldfastError(f"unknown component '{name}'", remedy=f"known: {', '.join(COMPONENTS)}")
        found: Component = getattr(self, name)
        return found

    def __iter__(self) -> Iterator[Component]:
        return iter((self.vision, self.connector, self.llm))

    def names(self) -> dict[str, nn.Parameter]:
        """Every parameter of the model by its name before any method was attached."""
        return {**self.vision.parameters, **self.connector.parameters, **self.llm.parameters}


def output_head(model: nn.Module) -> nn.Module | None:
    """The layer that turns hidden states into logits."""
    get = getattr(model, "get_output_embeddings", None)
    head = get() if get is not None else None
    return head if isinstance(head, nn.Module) else None


def decoder_of(model: nn.Module) -> nn.Module:
    """The llm without its head.

    Raises:
        HoldfastError: The model does not say which part of it is the decoder.
    """
    decoder = model.get_decoder()  # type: ignore[operator]
    if decoder is None or decoder is model:
        raise HoldfastError(
            f"{type(model).__name__} does not name its language model",
            remedy="Holdfast needs an image-text-to-text model whose get_decoder() returns it",
        )
    assert isinstance(decoder, nn.Module)
    return decoder


def resolve_anatomy(model: nn.Module) -> Anatomy:
    """Assign every parameter of ``model`` to one component.

    Raises:
        HoldfastError: No language model or no vision encoder can be found.
    """
    decoder = decoder_of(model)
    tower = model.get_encoder(modality="image")  # type: ignore[operator]
    base = getattr(model, "base_model", model)
    if tower is None or tower is model or tower is base or not isinstance(tower, nn.Module):
        raise HoldfastError(
            f"{type(model).__name__} has no separate vision encoder",
            remedy="Holdfast needs an image-text-to-text model whose get_encoder(modality='image') returns it",
        )
    llm = set(map(id, decoder.parameters()))
    head = output_head(model)
    if head is not None:
        llm |= set(map(id, head.parameters()))
    vision = set(map(id, tower.parameters())) - llm
    for name in _CONNECTOR_INSIDE_TOWER:
        inner = getattr(tower, name, None)
        if isinstance(inner, nn.Module):
            vision -= set(map(id, inner.parameters()))
    parts: dict[str, dict[str, nn.Parameter]] = {name: {} for name in COMPONENTS}
    for name, parameter in model.named_parameters():
        if id(parameter) in llm:
            parts["llm"][name] = parameter
        elif id(parameter) in vision:
            parts["vision"][name] = parameter
        else:
            parts["connector"][name] = parameter
    return Anatomy(*(Component(name, model, parts[name]) for name in COMPONENTS))

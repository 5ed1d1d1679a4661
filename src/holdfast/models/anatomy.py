"""Which parameters are the vision encoder, the connector and the llm of an image-text-to-text model.

The only place that resolves names to parameters. A component is a set of parameters; every parameter belongs to
exactly one. The rule is structural and needs no list of families:

- **llm**: the largest module around ``get_decoder()`` that does not hold the tower, and the output head;
- **vision**: everything below ``get_encoder(modality="image")`` and other modules that take pixels, except
- **connector**: the rest, and those parts of the tower that hand its result to the llm (``merger`` and
  ``deepstack_merger_list`` in Qwen-VL and GLM-4V stand inside the tower).

Parts that serve another modality, or make images, belong to none of the three: such a model is refused with their
names, because a recipe could neither train nor freeze them knowingly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from holdfast.errors import HoldfastError
from holdfast.models.kinds import KINDS, SIDES, is_norm, kind_of, mlp_side, reachable
from holdfast.models.packed import values_in

COMPONENTS = ("vision", "connector", "llm")

_CONNECTOR_INSIDE_TOWER = (
    "merger",
    "merger_list",
    "deepstack_merger_list",
    "downsample",
    "downsampler1",
    "downsampler2",
    "connector",
    "vision_adapter",
)
"""Children of a tower that shorten or project its result for the llm: Qwen-VL, GLM-4V, Step-3, Granite-Docling,
Llama 4.
"""

_ELSEWHERE = (
    "audio_tower",
    "audio_encoder",
    "speech_encoder",
    "embed_audio",
    "vqmodel",
    "generation_embeddings",
    "generation_aligner",
    "generation_head",
)
"""Parts that neither read an image nor write text."""


@dataclass(frozen=True)
class Component:
    """One component: its parameters by full name, and the modules that hold them."""

    name: str
    model: nn.Module
    parameters: dict[str, nn.Parameter]

    def count(self) -> int:
        """Number of values, tied parameters once."""
        return sum(values_in(parameter) for parameter in {id(p): p for p in self.parameters.values()}.values())

    def modules(self) -> dict[str, nn.Module]:
        """Modules all of whose own parameters belong to this component, by full name."""
        owned = set(map(id, self.parameters.values()))
        found: dict[str, nn.Module] = {}
        for name, module in self.model.named_modules():
            own = list(module.parameters(recurse=False))
            if own and all(id(parameter) in owned for parameter in own):
                found[name] = module
        return found

    def linears(self, kinds: Iterable[str] = KINDS) -> dict[str, nn.Linear]:
        """The linear layers of the named kinds, by full module name.

        Args:
            kinds: Of ``attention``, ``mlp``, its parts ``mlp_in`` (gate and up) and ``mlp_out`` (down), ``all`` (every
                linear layer but the output head), or last parts of module names such as ``q_proj``.

        Raises:
            HoldfastError: A kind that no layer of the component has.
        """
        head = output_head(self.model)
        own = self.modules()
        layers = {name: layer for name, layer in self._reachable().items() if name in own and layer is not head}
        chosen: set[str] = set()
        for kind in kinds:
            if kind == "all":
                hits = set(layers)
            elif kind in KINDS:
                hits = {name for name in layers if kind_of(self.model, name) == kind}
            elif kind in SIDES:
                mlp = {name: layer for name, layer in layers.items() if kind_of(self.model, name) == "mlp"}
                hits = {name for name, layer in mlp.items() if mlp_side(name, layer) == kind}
            else:
                hits = {name for name in layers if name.rsplit(".", 1)[-1] == kind}
            if not hits:
                raise self._without(kind, layers)
            chosen |= hits
        return {name: layer for name, layer in layers.items() if name in chosen}

    def _reachable(self) -> dict[str, nn.Linear]:
        return reachable(self.model)

    def _without(self, kind: str, layers: Iterable[str]) -> HoldfastError:
        present = sorted({name.rsplit(".", 1)[-1] for name in layers})
        remedy = "present: " + (", ".join(present) or "none")
        if kind in ("mlp", *SIDES) and any(p.ndim == 3 and "expert" in name for name, p in self.parameters.items()):
            remedy = "its experts are fused tensors, not linear layers; write modules: [attention], or use a method "
            remedy += "that trains whole tensors"
        return HoldfastError(f"component '{self.name}' has no linear layer of kind '{kind}'", remedy=remedy)

    def norms(self) -> dict[str, nn.Parameter]:
        """Gains and biases of the normalisation layers, by full name."""
        inside = {
            id(parameter)
            for module in self.modules().values()
            if is_norm(module)
            for parameter in module.parameters(recurse=False)
        }
        return {name: parameter for name, parameter in self.parameters.items() if id(parameter) in inside}

    def layers(self) -> list[tuple[str, nn.Module]]:
        """The repeated blocks in order, as (full name, block); empty for a component without any.

        Of several lists the one with the most parameters: experts and cross-attention blocks are lists, too.
        """
        best: list[tuple[str, nn.Module]] = []
        most = 0
        owned = set(map(id, self.parameters.values()))
        for name, module in self.model.named_modules():
            if not isinstance(module, nn.ModuleList):
                continue
            inside = {id(parameter): values_in(parameter) for parameter in module.parameters()}
            if sum(inside.values()) > most and owned.issuperset(inside):
                most = sum(inside.values())
                best = [(f"{name}.{index}", block) for index, block in enumerate(module)]
        return best


class AsItStood(Component):
    """A component as it was when this was made: what is put beside or around its modules later is not seen.

    Of several methods on one component each looks for its places here, so that none finds another's modules, nor a
    layer under the name that a wrapper gave it.
    """

    def __init__(self, component: Component) -> None:
        super().__init__(component.name, component.model, component.parameters)
        found = component.modules(), component._reachable(), component.layers()
        object.__setattr__(self, "_found", found)

    _found: tuple[dict[str, nn.Module], dict[str, nn.Linear], list[tuple[str, nn.Module]]]

    def modules(self) -> dict[str, nn.Module]:
        return dict(self._found[0])

    def layers(self) -> list[tuple[str, nn.Module]]:
        return list(self._found[2])

    def _reachable(self) -> dict[str, nn.Linear]:
        return self._found[1]


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
    """The layer that turns hidden states into logits; some models keep it below their language model."""
    for owner in (model, *(getattr(model, name, None) for name in ("language_model", "text_model", "text_decoder"))):
        get = getattr(owner, "get_output_embeddings", None)
        head = get() if get is not None else None
        if isinstance(head, nn.Module):
            return head
    return None


def decoder_of(model: nn.Module) -> nn.Module:
    """The llm without its head.

    Raises:
        HoldfastError: The model does not say which part of it is the decoder.
    """
    get = getattr(model, "get_decoder", None)
    decoder = get() if get is not None else None
    if not isinstance(decoder, nn.Module) or decoder is model:
        raise HoldfastError(
            f"{type(model).__name__} does not name its language model",
            remedy="Holdfast needs an image-text-to-text model whose get_decoder() returns it",
        )
    return decoder


def resolve_anatomy(model: nn.Module) -> Anatomy:
    """Assign every parameter of ``model`` to one component.

    Raises:
        HoldfastError: No language model or no vision encoder can be found, the model is an encoder-decoder, or it has
            parameters that belong to no component.
    """
    _refuse_encoder_decoder(model)
    tower = _tower_of(model)
    llm_root = _widest(model, decoder_of(model), tower)
    pixels = [tower, *_other_towers(model, tower, llm_root)]
    vision = {id(parameter) for module in pixels for parameter in module.parameters()}
    for name in _CONNECTOR_INSIDE_TOWER:
        inner = getattr(tower, name, None)
        if isinstance(inner, nn.Module):
            vision -= set(map(id, inner.parameters()))
    llm = set(map(id, llm_root.parameters()))
    if any(module is tower for module in llm_root.modules()):
        llm -= set(map(id, tower.parameters()))  # Idefics 1 keeps its tower and resampler inside the decoder
        for name in ("perceiver_resampler",):
            inner = getattr(llm_root, name, None)
            llm -= set() if inner is None else set(map(id, inner.parameters()))
    head = output_head(model)
    if head is not None:
        llm |= set(map(id, head.parameters()))
    elsewhere = {id(parameter) for module in _elsewhere(model) for parameter in module.parameters()} - llm
    parts: dict[str, dict[str, nn.Parameter]] = {name: {} for name in COMPONENTS}
    for name, parameter in model.named_parameters():
        if id(parameter) in elsewhere:
            continue
        part = "llm" if id(parameter) in llm else "vision" if id(parameter) in vision else "connector"
        parts[part][name] = parameter
    anatomy = Anatomy(*(Component(name, model, parts[name]) for name in COMPONENTS))
    check_complete(model, anatomy)
    return anatomy


def check_complete(model: nn.Module, anatomy: Anatomy) -> None:
    """Every parameter belongs to exactly one component, and neither vision nor llm is empty.

    Raises:
        HoldfastError: With the names that are in none or in several.
    """
    owners: dict[int, list[str]] = {}
    for component in anatomy:
        for parameter in component.parameters.values():
            owners.setdefault(id(parameter), []).append(component.name)
    for problem, found in (
        ("belong to no component", [n for n, p in model.named_parameters() if id(p) not in owners]),
        ("belong to several components", [n for n, p in model.named_parameters() if len(owners.get(id(p), ())) > 1]),
    ):
        if found:
            places = sorted({".".join(name.split(".")[:3]) for name in found})
            shown = ", ".join(places[:6]) + (" ..." if len(places) > 6 else "")
            raise HoldfastError(
                f"{len(found)} parameters of {type(model).__name__} {problem}: {shown}",
                remedy="Holdfast tunes models that read images and text and write text",
            )
    for component in (anatomy.vision, anatomy.llm):
        if not component.parameters:
            raise HoldfastError(f"{type(model).__name__} has no parameters in component '{component.name}'")


def _refuse_encoder_decoder(model: nn.Module) -> None:
    config: Any = getattr(model, "config", None)
    configs = [config, *(getattr(config, name, None) for name in ("text_config", "decoder"))]
    if any(getattr(part, "is_encoder_decoder", False) is True for part in configs):
        raise HoldfastError(
            f"{type(model).__name__} is an encoder-decoder: its answer is another sequence than its prompt",
            remedy="choose a model that continues the prompt, such as LLaVA or Qwen-VL",
        )


def _tower_of(model: nn.Module) -> nn.Module:
    get = getattr(model, "get_encoder", None)
    tower = get(modality="image") if get is not None else None
    if not isinstance(tower, nn.Module) or tower is model or tower is getattr(model, "base_model", model):
        raise HoldfastError(
            f"{type(model).__name__} has no separate vision encoder",
            remedy="Holdfast needs an image-text-to-text model whose get_encoder(modality='image') returns it",
        )
    return tower


def _widest(model: nn.Module, decoder: nn.Module, tower: nn.Module) -> nn.Module:
    """The largest module around the decoder that does not hold the tower: the language model with its head."""
    path = next(name for name, module in model.named_modules() if module is decoder)
    widest = decoder
    while path:
        path = path.rpartition(".")[0]
        outer = model.get_submodule(path)
        if any(module is tower for module in outer.modules()):
            break
        widest = outer
    return widest


def _other_towers(model: nn.Module, tower: nn.Module, llm: nn.Module) -> list[nn.Module]:
    """Further image encoders, such as Video-LLaVA's video tower and DeepSeek-VL's high-resolution one."""
    base = getattr(model, "base_model", model)
    return [
        child
        for child in base.children()
        if child is not tower and child is not llm and getattr(child, "main_input_name", None) == "pixel_values"
    ]


def _elsewhere(model: nn.Module) -> list[nn.Module]:
    base = getattr(model, "base_model", model)
    found = [getattr(owner, name, None) for owner in (model, base) for name in _ELSEWHERE]
    return [module for module in found if isinstance(module, nn.Module)]

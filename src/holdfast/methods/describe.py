"""What is known of every method, stabiliser and fusion, from cards, docstrings and options: for terminal and docs.

Nothing here is written by hand for one of them: what ``holdfast methods NAME`` prints and what the docs show is what
the code says.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from holdfast.config.fields import bounds_in_words, type_in_words, value_in_words
from holdfast.errors import HoldfastError, nearest
from holdfast.methods.contract import Card, Options
from holdfast.methods.registry import FUSIONS, METHODS, STABILISERS
from holdfast.registry import Broken, Provider, Registry
from holdfast.values import JSON

ORDER = ("baseline", "selective", "additive", "reparameterization", "any")
"""Paradigms as they are listed."""


@dataclass(frozen=True)
class Option:
    """One option: how it is written, what it takes, what it means and where its default comes from."""

    name: str
    type: str
    default: Any
    bounds: str
    meaning: str
    source: str
    also: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """One entry. ``text`` is the docstring (formula, costs, where it differs from the paper), ``example`` is YAML,
    ``bits`` are those of the packed weights that a method works beside.
    """

    kind: Literal["method", "stabiliser", "fusion"]
    card: Card
    provider: Provider
    text: str
    options: tuple[Option, ...]
    example: str
    bits: tuple[int, ...] = ()

    @property
    def beside_packed(self) -> str:
        """Whether a method goes with ``load.bits``, in words; empty for what is no method."""
        if self.kind != "method":
            return ""
        return f"works beside weights of {' and '.join(map(str, self.bits))} bits" if self.bits else "no"

    def to_json(self) -> JSON:
        """Plain values."""
        card = asdict(self.card)
        return card | {
            "kind": self.kind,
            "package": asdict(self.provider),
            "text": self.text,
            "options": [asdict(option) for option in self.options],
            "example": self.example,
            "bits": list(self.bits),
        }


def describe(name: str) -> Description:
    """The entry of that name, whatever its kind.

    Raises:
        HoldfastError: There is none; the message names the nearest.
    """
    registries: tuple[Registry[Any], ...] = (METHODS, STABILISERS, FUSIONS)
    for registry in registries:
        if name in registry:
            return _description(registry, name, registry.find(name))
    names = [known for registry in registries for known in registry.names()]
    raise HoldfastError(f"there is no method, stabiliser or fusion '{name}'", remedy=nearest(name, names))


def catalogue() -> list[Description]:
    """Every entry: methods by paradigm, family and name, then stabilisers, then fusions."""
    registries: tuple[Registry[Any], ...] = (METHODS, STABILISERS, FUSIONS)
    found = [_description(registry, name, kind) for registry in registries for name, kind in registry.all().items()]
    kinds = [registry.kind for registry in registries]
    return sorted(
        found,
        key=lambda entry: (
            kinds.index(entry.kind),
            ORDER.index(entry.card.paradigm),
            entry.card.family,
            entry.card.name,
        ),
    )


def broken() -> list[Broken]:
    """What installed packages announce and cannot be used."""
    return [fault for registry in (METHODS, STABILISERS, FUSIONS) for fault in registry.broken()]


def _description(registry: Registry[Any], name: str, kind: Any) -> Description:
    word: Any = registry.kind
    options = tuple(_options(kind.Settings))
    return Description(
        kind=word,
        card=kind.card,
        provider=registry.provider(name),
        text=inspect.cleandoc(kind.__doc__ or ""),
        options=options,
        example=_example(word, kind),
        bits=tuple(getattr(kind, "over_quantised", ())),
    )


def _options(settings: type[Options]) -> Iterator[Option]:
    for name, field in settings.model_fields.items():
        values = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
        if values == (True,):
            continue  # what this entry is about: it cannot be switched off
        yield Option(
            name=name,
            type=type_in_words(field.annotation),
            default=field.default,
            bounds=bounds_in_words(field),
            meaning=field.description or "",
            source=_source(settings, name),
            also=settings.spellings(name)[1:],
        )


def _source(settings: type[Options], name: str) -> str:
    """Where a default comes from: said by the class that gives it."""
    for kind in settings.__mro__:
        if name in vars(kind).get("__annotations__", {}):
            return str(vars(kind).get("source", ""))
    return ""


def _example(word: str, kind: Any) -> str:
    """How it is written in a recipe, with the first options that have a value."""
    options = [option for option in _options(kind.Settings) if option.default is not None][:3]
    said = "".join(f", {option.name}: {value_in_words(option.default)}" for option in options)
    name = kind.card.name
    if word == "stabiliser":
        return f"keep:\n  - {{stabiliser: {name}{said}}}"
    if word == "fusion":
        return f"fuse: {{method: {name}{said}}}"
    lr = "" if name == "frozen" else f", lr: {kind.card.default_lr:g}"
    return f"tune:\n  {kind.card.at}: {{method: {name}{said}{lr}}}"

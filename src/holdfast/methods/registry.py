"""Every method, stabiliser and fusion by name: found in their folders, or in installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from holdfast.errors import HoldfastError, nearest, within
from holdfast.methods.absent import ABSENT, NOT_BUILT, PEFT_ABSENT
from holdfast.methods.contract import Method, Options
from holdfast.methods.fusion.base import Fusion
from holdfast.methods.stabilisers.base import Stabiliser
from holdfast.registry import Registry


def _carded(kind: type[Any], value: object) -> str | None:
    """The name on the class's own card; what has none is an engine or a base."""
    if isinstance(value, type) and issubclass(value, kind) and "card" in vars(value):
        return str(vars(value)["card"].name)
    return None


METHODS: Registry[type[Method]] = Registry(
    "method",
    places=("methods/selective/*.py", "methods/additive/*.py", "methods/reparameterization/*.py"),
    name_of=lambda value: _carded(Method, value),
)
STABILISERS: Registry[type[Stabiliser]] = Registry(
    "stabiliser", places=("methods/stabilisers/*.py",), name_of=lambda value: _carded(Stabiliser, value)
)
FUSIONS: Registry[type[Fusion]] = Registry(
    "fusion", places=("methods/fusion/*.py",), name_of=lambda value: _carded(Fusion, value)
)


_SECTIONS: dict[str, tuple[Registry[Any], str]] = {
    "tune": (METHODS, "a method"),
    "keep": (STABILISERS, "a stabiliser"),
    "fuse": (FUSIONS, "a fusion"),
}


def _elsewhere(asked: Registry[Any], name: str, where: str = "") -> None:
    """Say of a name that is of another kind where it goes, and of one that is not offered why.

    Raises:
        HoldfastError: It is one of both.
    """
    if name in asked:
        return
    for section, (registry, what) in _SECTIONS.items():
        if name in registry:
            raise HoldfastError(f"{where}'{name}' is {what}", remedy=f"write it under {section}: in a recipe")
    letters = _letters(name)
    for absent in (*ABSENT, *NOT_BUILT, *PEFT_ABSENT):
        if _letters(absent.name) == letters:
            raise HoldfastError(
                f"{where}{absent.name} is not offered: {absent.reason}", remedy="see holdfast methods for what is"
            )


def _letters(name: str) -> str:
    """A name as people agree on it: small letters and digits alone."""
    return "".join(filter(str.isalnum, name.lower()))


def make_method(name: str, options: Mapping[str, Any], *, where: str = "") -> Method:
    """The method of that name with checked options.

    Raises:
        HoldfastError: Unknown method, unknown option or a value out of range.
    """
    with within("method"):
        _elsewhere(METHODS, name, where)
        kind = METHODS.find(name, where=where)
    return kind(check_options(kind.Settings, options, f"{where}method '{name}'"))


def make_stabiliser(name: str, options: Mapping[str, Any]) -> Stabiliser:
    """The stabiliser of that name with checked options.

    Raises:
        HoldfastError: Unknown name or option.
    """
    with within("stabiliser"):
        _elsewhere(STABILISERS, name)
        kind = STABILISERS.find(name)
    return kind(check_options(kind.Settings, options, f"stabiliser '{name}'"))


def make_fusion(name: str, options: Mapping[str, Any]) -> Fusion:
    """The fusion of that name with checked options.

    Raises:
        HoldfastError: Unknown name or option.
    """
    with within("method"):
        _elsewhere(FUSIONS, name)
        kind = FUSIONS.find(name)
    return kind(check_options(kind.Settings, options, f"fusion '{name}'"))


def check_options(kind: type[Options], options: Mapping[str, Any], owner: str) -> Options:
    """Options as their checked form.

    Raises:
        HoldfastError: Unknown option or a value out of range.
    """
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise HoldfastError(
                f"{owner} has no option '{key}'",
                remedy=nearest(key, kind.model_fields) if kind.model_fields else None,
                key=key,
            ) from error
        message = str(first["msg"]).replace("Input should", "it should").removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch":
            field = kind.model_fields[key]
            message = f"it should be written as {' or '.join(map(repr, field.examples or []))} ({field.description})"
        raise HoldfastError(f"{owner}, option '{key}' is {first['input']!r}: {message}", key=key) from error

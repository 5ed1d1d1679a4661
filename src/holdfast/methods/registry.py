"""Every method, stabiliser and fusion by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from holdfast.errors import HoldfastError, nearest
from holdfast.methods.contract import Card, Method, Options

METHODS: dict[str, type[Method]] = {}
_M = TypeVar("_M", bound=type[Method])


def register(card: Card) -> Callable[[_M], _M]:
    """Class decorator that gives a method its card and its place in the registry."""

    def enter(method: _M) -> _M:
        if card.name in METHODS:
            raise ValueError(f"method '{card.name}' is registered twice")
        method.card = card
        METHODS[card.name] = method
        return method

    return enter


def load_all() -> dict[str, type[Method]]:
    """The registry with every room of ``methods`` entered."""
    from holdfast.methods import peft_bridge  # noqa: F401
    from holdfast.methods.additive import adapter, prefix  # noqa: F401
    from holdfast.methods.selective import (  # noqa: F401
        child_tuning,
        dense,
        fisher,
        hft,
        lt_sft,
        masks,
        mofo,
        scopes,
        spider,
    )

    return METHODS


def make_method(name: str, options: Mapping[str, Any], *, where: str = "") -> Method:
    """The method of that name with checked options.

    Raises:
        HoldfastError: Unknown method, unknown option or a value out of range.
    """
    known = load_all()
    if name not in known:
        raise HoldfastError(f"{where}unknown method '{name}'", remedy=nearest(name, known))
    return known[name](check_options(known[name].Settings, options, f"{where}method '{name}'"))


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
                f"{owner} has no option '{key}'", remedy=nearest(key, kind.model_fields) if kind.model_fields else None
            ) from error
        message = str(first["msg"]).replace("Input should", "it should").removeprefix("Value error, ")
        raise HoldfastError(f"{owner}, option '{key}' is {first['input']!r}: {message}") from error

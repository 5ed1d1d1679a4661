"""A setting in words: what it takes, its default and its bounds, for the docs and for ``holdfast methods NAME``."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

import annotated_types
from pydantic.fields import FieldInfo

_BOUNDS = {"gt": "above {}", "ge": "at least {}", "lt": "below {}", "le": "at most {}"}
_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def type_in_words(annotation: Any) -> str:
    """What a setting takes, ``list of text`` for ``tuple[str, ...]``; None is no value and is left out."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_in_words(inside[0])
    if origin is Literal:
        return " or ".join(str(value) for value in inside)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_in_words(part) for part in inside if part is not type(None)))
    if origin in (tuple, list):
        many = f"list of {type_in_words(inside[0])}"
        return many if len(inside) < 2 or inside[1] is ... else f"{many}, {len(inside)} of them"
    if origin is dict:
        return f"{type_in_words(inside[1])} by name"
    return _WORDS.get(annotation) or str(annotation)


def bounds_in_words(field: FieldInfo) -> str:
    """The bounds of a number, ``above 0, at most 1``; empty where there are none."""
    return ", ".join(dict.fromkeys((*_limits(field.metadata), *_inside(field.annotation))))


def value_in_words(value: Any) -> str:
    """A default as it is written in a recipe; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(value_in_words(part) for part in value)}]"
    if isinstance(value, str) and (":" in value or value.startswith("{")):
        return f"'{value}'"
    return str(value)


def _limits(metadata: typing.Iterable[Any]) -> Iterator[str]:
    for limit in metadata:
        if isinstance(limit, FieldInfo):
            yield from _limits(limit.metadata)
        for part in limit if isinstance(limit, annotated_types.GroupedMetadata) else (limit,):
            yield from (text.format(getattr(part, key)) for key, text in _BOUNDS.items() if hasattr(part, key))


def _inside(annotation: Any) -> Iterator[str]:
    """Bounds of the parts of a union, such as a share that may also be a file."""
    for part in typing.get_args(annotation):
        if typing.get_origin(part) is typing.Annotated:
            yield from _limits(typing.get_args(part)[1:])

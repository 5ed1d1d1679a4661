"""Patches of a run configuration: how one is put onto another, and where in a file it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast.values import JSON

WORDS = {"target": "data", "vision": "method", "connector": "method", "llm": "method", "fuse": "method"}
"""Section -> the key that a bare word in its place stands for."""

NAMED = ("method", "stabiliser")
"""A mapping that names one of these is a thing of its own: it replaces what stands there, options and all."""


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> JSON:
    """``below`` with the patch ``above`` put onto it, section by section.

    Mappings are joined key by key; lists and plain values are replaced, and so is a component or a fusion whose method
    the patch names. A bare word for the target changes where its examples come from and leaves its other settings.
    """
    result = dict(below)
    for key, value in above.items():
        word = WORDS.get(key)
        if word is not None and isinstance(value, str):
            value = {word: value}
        there = result.get(key)
        if word is not None and isinstance(there, str):
            there = {word: there}
        if isinstance(there, list | tuple) and isinstance(value, Mapping) and value and all(map(_is_place, value)):
            result[key] = _merged_at(there, value)
            continue
        joined = isinstance(value, Mapping) and isinstance(there, Mapping) and not any(name in value for name in NAMED)
        result[key] = merged(there, value) if joined else value  # type: ignore[arg-type]
    return result


def _is_place(key: Any) -> bool:
    return str(key).isdecimal()


def _merged_at(there: Sequence[Any], patch: Mapping[str, Any]) -> Any:
    """Several methods of a component with patches by place: ``{"0": {"lr": 1e-3}}``.

    A place that the list has not is left to whoever checks the configuration.
    """
    if any(int(place) >= len(there) for place in patch):
        return patch
    items = [{"method": item} if isinstance(item, str) else item for item in there]
    for place, inner in patch.items():
        items[int(place)] = merged({"item": items[int(place)]}, {"item": inner})["item"]
    return items


def at_path(path: Sequence[str], value: Any) -> JSON:
    """The patch that sets one setting: ``("train", "steps"), 50`` -> ``{"train": {"steps": 50}}``."""
    first, *rest = path
    return {first: at_path(rest, value) if rest else value}


def paths_of(patch: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every setting that a patch sets, as a path."""
    for key, value in patch.items():
        if isinstance(value, Mapping) and value:
            yield from paths_of(value, (*above, str(key)))
        else:
            yield (*above, str(key))


BY = "by"
"""Key of a level that says something else for each level of another axis: ``by: {method: {lora: {...}}}``."""


def set_by(level: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Every setting that a level sets, whichever other level it stands beside."""
    yield from paths_of({key: value for key, value in level.items() if key != BY})
    for table in level.get(BY, {}).values():
        for patch in table.values():
            yield from paths_of(patch)


def beside(level: Mapping[str, Any], others: Mapping[str, str]) -> JSON:
    """The patch that a level stands for beside the levels of other axes.

    Raises:
        KeyError: It says nothing for one of them; the argument is the other axis and its level.
    """
    result: JSON = {key: value for key, value in level.items() if key != BY}
    for axis, table in level.get(BY, {}).items():
        if others.get(axis) not in table:
            raise KeyError(axis, others.get(axis))
        result = merged(result, table[others[axis]])
    return result

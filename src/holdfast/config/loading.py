"""From YAML (or a mapping) and ``key=value`` overrides to a checked :class:`RunConfig`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from holdfast.config.documents import read_document
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError, cut, nearest
from holdfast.values import JSON

_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


def load_config(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a configuration.

    Args:
        source: A YAML file, or the same as a mapping.
        overrides: ``key.sub=value`` strings; values are YAML (``train.steps=20``).

    Raises:
        HoldfastError: Missing file, bad YAML, unknown key (the nearest is suggested) or value out of range.
    """
    file: Path | None = None
    text = ""
    if isinstance(source, Mapping):
        raw: Any = dict(source)
    else:
        file = Path(source)
        text, raw = read_document(file, what="the configuration")
        twice = written_twice(text)
        if twice is not None:
            raise HoldfastError(f"key '{twice[0]}' stands twice", file=file, line=twice[1], remedy="keep one of them")
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise HoldfastError("the configuration is not a mapping of keys", file=file, remedy="write key: value lines")
    for override in overrides:
        set_key(raw, override)
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise _explain(error, file, text, overrides, raw) from error


def set_key(raw: JSON, override: str) -> None:
    """Put one ``key.sub=value`` into a configuration that is not checked yet.

    Raises:
        HoldfastError: It is no such thing, or its value is no YAML.
    """
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise HoldfastError(f"'--set {override}' is not key=value", remedy="write --set train.steps=100")
    place: Any = raw
    *path, last = key.strip().split(".")
    for part in path:
        part = _step(place, part, override)
        below = place[part] if isinstance(place, list) else place.get(part)
        if isinstance(below, str):  # `llm: lora` grows options
            below = {"data" if part == "target" else "method": below}
        elif below is None:
            below = {}
        elif not isinstance(below, dict | list):
            raise HoldfastError(f"'--set {override}': '{part}' holds no keys", remedy="see the configuration file")
        place[part] = below = below.copy()
        place = below
    last = _step(place, last, override)
    try:
        place[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        shown = f"'--set {cut(override, 200)}'"
        raise HoldfastError(f"{shown}: the value is not YAML, or too long", remedy="quote it") from error
    # YAML 1.1 reads 2e-5 as text; a learning rate written so is a number to everybody else.
    if isinstance(place[last], str) and _EXPONENT.fullmatch(place[last]):
        place[last] = float(place[last])


def _step(place: Any, part: str, override: str) -> Any:
    """A key as it is, or the place in a list: ``0`` is the first of several methods of a component.

    Raises:
        HoldfastError: The list has no such place.
    """
    if not isinstance(place, list):
        return part
    if not part.isdecimal() or int(part) >= len(place):
        remedy = f"write a place from 0 to {len(place) - 1}" if place else "see the configuration file"
        raise HoldfastError(f"'--set {cut(override, 200)}': '{cut(part, 200)}' is no place in this list", remedy=remedy)
    return int(part)


def _explain(
    error: ValidationError, file: Path | None, text: str, overrides: Sequence[str], raw: JSON
) -> HoldfastError:
    """The first mistake in words, with its line where the file shows it."""
    mistakes = error.errors()
    # A misspelt key is the cause where another key is missing for it.
    first = next((mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"), mistakes[0])
    # Members of a union are no keys.
    path = as_written(raw, [str(part) for part in first["loc"] if part not in ("str", "float")])
    key = path[-1] if path else ""
    place = ".".join(path)
    line = line_of(text, path)
    if _set_by(overrides, path):
        file, line, place = None, None, f"--set {place}"
    if first["type"] == "extra_forbidden":
        remedy, at = nearest(key, _fields_at(path[:-1])), ".".join(path)
        return HoldfastError(f"unknown key '{place}'", file=file, line=line, remedy=remedy, key=at)
    if first["type"] == "missing":
        return HoldfastError(f"'{place}' is missing", file=file, line=line, remedy="add it", key=".".join(path))
    message = str(first["msg"]).replace("Input should", "it should").removeprefix("Value error, ")
    if first["loc"][-1:] == ("str",) and len(mistakes) > 1:  # of a union
        message = "it should be a file, or a share from 0 to below 1"
    message = re.sub(r"a valid dictionary.*", "a mapping of keys", message).replace("a valid tuple", "a list")
    problem = f"'{place}' is {cut(repr(first['input']), 200)}: {message[0].lower()}{message[1:]}"
    return HoldfastError(problem, file=file, line=line, remedy="change the value", key=".".join(path))


def as_written(raw: Any, path: Sequence[str]) -> list[str]:
    """The path of a key in a configuration that writes as a list what the schema keeps as ``then``."""
    found: list[str] = []
    place, left = raw, list(path)
    while left:
        if isinstance(place, list | tuple) and not left[0].isdecimal():
            later = left[0] == "then" and len(left) > 1 and left[1].isdecimal()
            left = [str(int(left[1]) + 1), *left[2:]] if later else ["0", *left]
        part = left.pop(0)
        found.append(part)
        if isinstance(place, Mapping):
            place = place.get(part)
        elif isinstance(place, list | tuple):
            place = place[int(part)] if int(part) < len(place) else None
    return found


def locate(error: HoldfastError, file: Path, overrides: Sequence[str] = ()) -> None:
    """Give a mistake that names no file the configuration ``file``, and the line of the key it concerns.

    A key that the command line set has no line there; the mistake then says so.
    """
    if error.file is not None:
        return
    if error.key and _set_by(overrides, error.key):
        error.problem = f"--set {'.'.join(error.key)}: {error.problem}"
        return
    error.file = str(file)
    error.line = line_of(file.read_text(encoding="utf-8"), error.key)


def _set_by(overrides: Sequence[str], path: Sequence[str]) -> bool:
    """Whether one of ``overrides`` sets the key at ``path``, or something above it."""
    given = [override.partition("=")[0].strip().split(".") for override in overrides]
    return any(list(path[: len(key)]) == key for key in given)


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The one-based line of the key at ``path``, as deep as the YAML ``text`` has it; ``None`` if not at all."""
    node = yaml.compose(text, Loader=yaml.SafeLoader) if text.strip() else None
    line: int | None = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            found = (node.value[int(part)], node.value[int(part)])
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def written_twice(text: str) -> tuple[str, int] | None:
    """A key that one mapping holds twice, with the line of the second: YAML would drop the first in silence."""
    nodes: list[Any] = [yaml.compose(text, Loader=yaml.SafeLoader)]
    visited: set[int] = set()
    while nodes:
        node = nodes.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen and key.value != "<<" and isinstance(key, yaml.ScalarNode):
                    return str(key.value), key.start_mark.line + 1
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
                nodes.append(value)
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
    return None


def _fields_at(path: list[str]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for part in path:
        field = model.model_fields.get(part)
        inner = None if field is None else _model_in(field.annotation)
        if inner is None:
            break
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def dump_config(config: RunConfig) -> str:
    """The resolved configuration as YAML; reading it back gives the same configuration."""
    return yaml.safe_dump(_plain(config.model_dump()), sort_keys=False, allow_unicode=True)


def dump_recipe(config: RunConfig) -> str:
    """The same without what has its default, but for the model, as a person would write it."""
    return yaml.safe_dump({"model": config.model} | plain_config(config), sort_keys=False, allow_unicode=True)


def plain_config(config: RunConfig) -> JSON:
    """What a configuration sets otherwise than by default, as plain values; reading it back gives the same one."""
    return dict(_plain(config.model_dump(exclude_defaults=True)))


def _plain(value: Any) -> Any:
    """Tuples as lists; pydantic's own JSON mode would also turn an infinite option into null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value

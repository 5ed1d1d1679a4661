"""From YAML (or a mapping) and ``key=value`` overrides to a checked :class:`RunConfig`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError, nearest


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
        try:
            text = file.read_text(encoding="utf-8")
            raw = yaml.safe_load(text)
        except FileNotFoundError as error:
            raise HoldfastError("the configuration does not exist", file=file, remedy="check the path") from error
        except (OSError, UnicodeDecodeError) as error:
            raise HoldfastError(f"the configuration cannot be read ({error})", file=file) from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = None if mark is None else mark.line + 1
            what = str(getattr(error, "problem", None) or error)
            raise HoldfastError(f"bad YAML: {what}", file=file, line=line) from error
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise HoldfastError("the configuration is not a mapping of keys", file=file)
    for override in overrides:
        _override(raw, override)
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise _explain(error, file, text) from error


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise HoldfastError(f"'--set {override}' is not key=value", remedy="write --set train.steps=100")
    place = raw
    *path, last = key.strip().split(".")
    for part in path:
        below = place.get(part)
        if isinstance(below, str):  # `llm: lora` grows options
            below = {"data" if part == "target" else "method": below}
        elif below is None:
            below = {}
        elif not isinstance(below, dict):
            raise HoldfastError(f"'--set {override}': '{part}' holds no keys", remedy="see the configuration file")
        place[part] = below = dict(below)
        place = below
    try:
        place[last] = yaml.safe_load(value)
        # YAML 1.1 reads 2e-5 as text; a learning rate written so is a number to everybody else.
        if isinstance(place[last], str):
            place[last] = float(place[last])
    except yaml.YAMLError as error:
        raise HoldfastError(f"'--set {override}': the value is not YAML") from error
    except ValueError:
        pass


def _explain(error: ValidationError, file: Path | None, text: str) -> HoldfastError:
    """The first mistake in words, with its line where the file shows it."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = path[-1] if path else ""
    place = ".".join(path)
    line = next(
        (number for number, row in enumerate(text.split("\n"), start=1) if row.lstrip(" -{").startswith(f"{key}:")),
        None,
    )
    if first["type"] == "extra_forbidden":
        return HoldfastError(f"unknown key '{place}'", file=file, line=line, remedy=nearest(key, _fields_at(path[:-1])))
    message = str(first["msg"]).replace("Input should", "it should").removeprefix("Value error, ")
    return HoldfastError(f"'{place}' is {first['input']!r}: {message[0].lower()}{message[1:]}", file=file, line=line)


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
    plain = config.model_dump(mode="json", exclude_none=False)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)

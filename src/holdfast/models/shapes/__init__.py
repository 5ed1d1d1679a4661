"""Shapes of well-known models: their configurations without weights, to plan with before anything is downloaded.

Each JSON file holds ``config`` (what transformers builds the model from), ``parameters`` (how many values that model
has, tied ones once) and ``hub`` (the Hub id of the weights, with what its configuration says otherwise).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError, nearest
from holdfast.files import read_json
from holdfast.files.places import path_of
from holdfast.models.shipped import SHIPPED
from holdfast.values import JSON

FOLDER = Path(__file__).parent


def shape_names() -> list[str]:
    """Every shipped shape."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def read_shape(name: str) -> JSON:
    """The file of a shipped shape.

    Raises:
        HoldfastError: There is no shape of that name; the nearest is suggested.
    """
    if name not in shape_names():
        raise HoldfastError(f"unknown model shape '{name}'", remedy=nearest(name, [*shape_names(), *SHIPPED]))
    shape: JSON = read_json(FOLDER / f"{name}.json")
    return shape


def model_config(name: str, *, trust_remote_code: bool = False) -> Any:
    """The transformers configuration of a model, without its weights.

    Args:
        name: A shipped shape, ``pocket``, a folder with ``config.json``, or a Hub id.
        trust_remote_code: Let the model's own Python code run.

    Raises:
        HoldfastError: Nothing of that name, or no configuration that transformers knows.
    """
    if name in shape_names():
        return _built(read_shape(name)["config"])
    for shape in map(read_shape, shape_names()):
        hub = dict(shape["hub"])
        if hub.pop("id") == name:
            return _built(_overlaid(shape["config"], hub))
    folder = SHIPPED.get(name) or path_of(name)
    if not folder.is_dir():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise HoldfastError(
                f"'{name}' is neither a model folder nor a known shape",
                remedy=nearest(name, [*shape_names(), *SHIPPED]),
            )
    elif not (folder / "config.json").is_file():
        raise HoldfastError(f"'{name}' is not a model folder: config.json is missing", remedy="give a model folder")
    from holdfast.models.configuration import read_config

    try:
        return read_config(str(folder) if folder.is_dir() else name, name, trust_remote_code=trust_remote_code)
    except HoldfastError:
        raise
    except Exception as error:  # a damaged one makes transformers raise whatever its code meets
        raise HoldfastError(
            f"the configuration of '{name}' cannot be read ({' '.join(str(error).split())[:200]})",
            remedy="give a shape that is shipped (" + ", ".join(shape_names()) + ") or a folder with config.json",
        ) from error


def _built(plain: JSON) -> Any:
    from transformers import AutoConfig

    kind = plain["model_type"]
    return AutoConfig.for_model(kind).from_dict(plain)


def _overlaid(plain: JSON, other: JSON) -> JSON:
    merged = dict(plain)
    for key, value in other.items():
        merged[key] = _overlaid(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged

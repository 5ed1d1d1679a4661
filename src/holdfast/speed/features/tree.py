"""Nested features as a description in JSON and a list of tensors, and back.

What families hand on are output objects of transformers, lists, tuples, dictionaries, tensors and plain values. A
tensor that occurs twice is kept once; one whose values are all equal is kept as its shape and value. Nothing is ever
pickled, and a description can only name output classes of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from holdfast.speed.decision import NotPossible
from holdfast.values import JSON

_PLAIN = (bool, int, float, str, type(None))


class Packer:
    """Collects the tensors of one or several nested values."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self._known: dict[int, int] = {}
        self._alive: list[Tensor] = []  # an id is only good while its object lives

    def pack(self, value: Any) -> Any:
        """The description of ``value`` in JSON.

        Raises:
            NotPossible: It holds something that is none of the known kinds.
        """
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, _PLAIN):
            return {"is": "value", "value": value}
        if is_output(value):
            kind = type(value)
            items = {field.name: self.pack(getattr(value, field.name)) for field in fields(value)}
            return {"is": "output", "class": f"{kind.__module__}:{kind.__qualname__}", "fields": items}
        if isinstance(value, dict):
            return {"is": "dict", "items": {str(key): self.pack(item) for key, item in value.items()}}
        if type(value) in (list, tuple):
            return {"is": type(value).__name__, "items": [self.pack(item) for item in value]}
        raise NotPossible(f"its vision encoder hands on a {type(value).__name__}, which cannot be stored")

    def _tensor(self, value: Tensor) -> JSON:
        if id(value) not in self._known:
            kept = value.detach()
            if kept.numel() and bool((kept == kept.flatten()[0]).all()):
                return filled(kept.shape, kept.dtype, kept.flatten()[0].item())
            self._known[id(value)] = len(self.tensors)
            self._alive.append(value)
            self.tensors.append(kept)
        return {"is": "tensor", "index": self._known[id(value)]}


def filled(shape: Sequence[int], dtype: torch.dtype, value: float) -> JSON:
    """The description of a tensor whose values are all ``value``; it takes no bytes."""
    return {"is": "filled", "shape": list(shape), "dtype": str(dtype).removeprefix("torch."), "value": value}


def unpack(spec: Any, tensors: Sequence[Tensor], device: torch.device) -> Any:
    """The value that ``spec`` describes, made of ``tensors``, as new containers."""

    def again(part: Any) -> Any:
        return unpack(part, tensors, device)

    match spec["is"]:
        case "tensor":
            return tensors[spec["index"]]
        case "filled":
            one = torch.full((1,), spec["value"], dtype=getattr(torch, spec["dtype"]), device=device)
            made = one.expand(spec["shape"]) if spec["shape"] else one[0]
            return made if made.is_floating_point() else made.contiguous()  # pixels stay unwritten, masks are small
        case "value":
            return spec["value"]
        case "dict":
            return {key: again(item) for key, item in spec["items"].items()}
        case "list":
            return [again(item) for item in spec["items"]]
        case "tuple":
            return tuple(again(item) for item in spec["items"])
        case "output":
            return _output_class(spec["class"])(**{name: again(item) for name, item in spec["fields"].items()})
    raise ValueError(spec["is"])


def is_output(value: Any) -> bool:
    """Whether ``value`` is an output object of transformers."""
    from transformers.utils import ModelOutput

    return isinstance(value, ModelOutput) and is_dataclass(value)


def replaced(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """``value`` in new containers with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if is_output(value):
        return type(value)(**{f.name: replaced(getattr(value, f.name), change) for f in fields(value)})
    if isinstance(value, dict):
        return {key: replaced(item, change) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(replaced(item, change) for item in value)
    return value


def tensors_of(value: Any) -> list[Tensor]:
    """Every tensor inside ``value``, in order."""
    found: list[Tensor] = []
    replaced(value, found.append)
    return found


def _output_class(name: str) -> Any:
    from transformers.utils import ModelOutput

    module, _, kind = name.partition(":")
    if module.partition(".")[0] not in ("transformers", "transformers_modules"):
        raise ValueError(f"features of a class {name}")
    found = getattr(import_module(module), kind)
    if not issubclass(found, ModelOutput):
        raise ValueError(f"features of a class {name}")
    return found

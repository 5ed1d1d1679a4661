"""One file an image set: safetensors, written beside and renamed, mapped into memory when read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.files import parse_json, write_bytes

_VALUES = ('"is": "tensor"', '"is": "filled"')
"""In a description, what has values. Earlier versions could store features without any where processes overlapped."""


@dataclass(frozen=True)
class FeatureRecord:
    """What one file holds: a description (see :mod:`holdfast.speed.features.tree`) and its tensors."""

    spec: Any
    tensors: tuple[Tensor, ...]

    def to(self, device: torch.device | str) -> FeatureRecord:
        """The same on another device."""
        return FeatureRecord(self.spec, tuple(tensor.to(device, non_blocking=True) for tensor in self.tensors))


def encode(spec: Any, tensors: Sequence[Tensor]) -> bytes:
    """The bytes of a file. Types are kept, bfloat16 included."""
    from safetensors.torch import save

    plain = {str(index): tensor.detach().cpu().contiguous().clone() for index, tensor in enumerate(tensors)}
    crc = _checksum(list(plain.values()))
    made: bytes = save(plain, {"spec": json.dumps(spec), "crc": str(crc)})
    return made


def write(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one piece, whoever else writes it and whenever this process is killed.

    Raises:
        HoldfastError: The folder cannot be written, or the disk is full.
    """
    write_bytes(path, content)


def is_whole(path: Path) -> bool:
    """Whether the file is there with a header that fits its length; the values are not looked at."""
    return _open(path, values=False, compare=False) is not None


def read(path: Path, *, trusted: bool = False) -> FeatureRecord | None:
    """The record of a file, its tensors mapped into memory; None where it is missing or damaged.

    Args:
        path: The file.
        trusted: Leave out the comparison with the checksum, which reads every value.
    """
    return _open(path, values=True, compare=not trusted)


def _open(path: Path, *, values: bool, compare: bool) -> FeatureRecord | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            facts = file.metadata() or {}
            if not any(kind in facts["spec"] for kind in _VALUES):
                return None
            spec, crc = parse_json(facts["spec"]), int(facts["crc"])
            if not values:
                return FeatureRecord(spec, ())
            tensors = tuple(file.get_tensor(str(index)) for index in range(len(file.keys())))
    except (OSError, ValueError, KeyError, TypeError, HoldfastError, SafetensorError):
        return None
    return FeatureRecord(spec, tensors) if not compare or _checksum(tensors) == crc else None


def _checksum(tensors: Sequence[Tensor]) -> int:
    found = 0
    for tensor in tensors:
        found = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, found)
    return found

"""Safetensors on disk, read by ranges: a piece of a tensor costs no more memory than the piece.

Memory-mapped reading would count every touched page of every file against the process; here a range is read into its
own buffer and nothing else.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.values import JSON

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Entry:
    """One tensor: its file, its type, its shape, and where its bytes begin in the file."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


class Checkpoint:
    """The tensors of a safetensors file, or of a folder with one or several of them (an index is not needed)."""

    def __init__(self, place: Path) -> None:
        """Read the headers.

        Raises:
            HoldfastError: No safetensors there, a damaged file, a tensor that stands twice, or a type that is not a
                plain number.
        """
        self.place = place
        self.files = _files(place)
        self.entries: dict[str, Entry] = {}
        self.headers: dict[Path, bytes] = {}
        for file in self.files:
            self.headers[file], entries = read_header(file)
            twice = next((name for name in entries if name in self.entries), None)
            if twice is not None:
                raise HoldfastError(f"'{twice}' stands in two files", file=place, remedy="keep one copy of the weights")
            self.entries |= entries

    def renamed(self, names: Mapping[str, str]) -> Checkpoint:
        """The same tensors under other names: new name -> stored name."""
        other = copy(self)
        other.entries = {name: self.entries[stored] for name, stored in names.items()}
        return other

    def names(self) -> list[str]:
        """Every tensor, file by file and in the order of its bytes."""
        return list(self.entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the tensor."""
        return self.entries[name].shape

    def size(self, name: str) -> int:
        """Number of values."""
        return self.entries[name].size

    def read(self, name: str, begin: int, end: int) -> Tensor:
        """The values ``[begin, end)`` of the flat tensor.

        Raises:
            HoldfastError: The file ends before them.
        """
        entry = self.entries[name]
        width = entry.dtype.itemsize
        buffer = bytearray((end - begin) * width)
        if not buffer:
            return torch.empty(0, dtype=entry.dtype)
        with entry.file.open("rb") as stream:
            stream.seek(entry.begin + begin * width)
            if stream.readinto(buffer) != len(buffer):
                raise HoldfastError("the file ends too early", file=entry.file, remedy="download it again")
        return torch.frombuffer(buffer, dtype=entry.dtype)


def read_header(file: Path) -> tuple[bytes, dict[str, Entry]]:
    """The header's bytes with their length in front, and the tensors in the order of their bytes.

    Raises:
        HoldfastError: The file is damaged or holds a type that is not a plain number.
    """
    from safetensors import safe_open

    try:
        with safe_open(file, framework="pt"):  # checks the header against the file
            pass
        with file.open("rb") as stream:
            raw = stream.read(8)
            length = struct.unpack("<Q", raw)[0]
            raw += stream.read(length)
    except Exception as error:  # safetensors raises its own type, which it does not export
        raise HoldfastError(f"the file is damaged ({error})", file=file, remedy="download or write it again") from error
    header: JSON = json.loads(raw[8:])
    header.pop("__metadata__", None)
    entries = {}
    for name, about in sorted(header.items(), key=lambda item: (item[1]["data_offsets"], item[0])):
        if about["dtype"] not in DTYPES:
            raise HoldfastError(
                f"'{name}' is of type {about['dtype']}, which is not a plain number",
                file=file,
                remedy="use the model before it was quantised",
            )
        begin = 8 + length + about["data_offsets"][0]
        entries[name] = Entry(file, DTYPES[about["dtype"]], tuple(about["shape"]), begin)
    return raw, entries


def _files(place: Path) -> list[Path]:
    if place.is_file():
        if place.suffix != ".safetensors":
            raise HoldfastError("this is not a safetensors file", file=place, remedy="give safetensors")
        return [place]
    found = sorted(place.glob("*.safetensors")) if place.is_dir() else []
    # Some models ship a second, consolidated copy beside the shards that their index names.
    index = place / "model.safetensors.index.json"
    if index.is_file():
        try:
            named = set(read_json(index)["weight_map"].values())
        except (KeyError, TypeError, AttributeError) as error:
            raise HoldfastError("the index names no weights", file=index, remedy="download it again") from error
        missing = sorted(named - {file.name for file in found})
        if missing:
            raise HoldfastError(f"'{missing[0]}' is missing", file=place, remedy="download the whole model")
        found = [file for file in found if file.name in named]
    if found:
        return found
    raise HoldfastError(_nothing(place), file=place, remedy=_remedy(place))


def _nothing(place: Path) -> str:
    if not place.exists():
        return "there is no such folder or file"
    if (place / "config.yaml").is_file():
        return "this is a Holdfast run and no plain model"
    return "there are no safetensors weights here"


def _remedy(place: Path) -> str:
    if (place / "config.yaml").is_file():
        return f"write it as one first: holdfast export {place} --out FOLDER"
    return "give a model folder with *.safetensors; pickled checkpoints are refused because they can run code"

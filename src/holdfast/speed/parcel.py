"""Any value with tensors in it as one piece of memory that processes share.

torch gives every tensor that goes from one process to another a file descriptor and a segment of its own. A step with
stored features of a hundred images would come near the thousand files that a process may hold open.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ALIGNED = 64
"""Bytes; where torch's own memory begins."""


@dataclass(frozen=True)
class Parcel:
    """One value.

    Attributes:
        text: Everything but the tensors, pickled.
        places: Of each tensor: its first byte, dtype, shape and strides.
        content: The bytes of all tensors.
    """

    text: bytes
    places: tuple[tuple[int, torch.dtype, tuple[int, ...], tuple[int, ...]], ...]
    content: Tensor

    @classmethod
    def of(cls, value: Any) -> Parcel:
        """Copy the tensors of ``value`` into memory that other processes can be given.

        Raises:
            RuntimeError: There is not so much of it.
        """
        written = io.BytesIO()
        packer = _Packer(written)
        packer.dump(value)
        places, end = [], 0
        for tensor in packer.tensors:
            places.append((end, tensor.dtype, tuple(tensor.shape), tensor.stride()))
            end = _aligned(end + tensor.numel() * tensor.element_size())
        content = torch.empty(end, dtype=torch.uint8).share_memory_()
        parcel = cls(written.getvalue(), tuple(places), content)
        for place, tensor in enumerate(packer.tensors):
            parcel._tensor(place).copy_(tensor)
        return parcel

    def open(self) -> Any:
        """The value; its tensors stand in :attr:`content`."""
        return _Unpacker(self).load()

    def pin_memory(self) -> Parcel:
        """The same in memory from which a GPU copies while the processor goes on; torch's DataLoader asks for it."""
        return Parcel(self.text, self.places, self.content.pin_memory())

    def _tensor(self, place: int) -> Tensor:
        begin, dtype, shape, strides = self.places[place]
        count = torch.Size(shape).numel() * dtype.itemsize
        return self.content[begin : begin + count].view(dtype).as_strided(shape, strides, begin // dtype.itemsize)


def size_of(value: Any) -> int:
    """Bytes of the tensors in a value."""
    packer = _Packer(io.BytesIO())
    packer.dump(value)
    return sum(_aligned(tensor.numel() * tensor.element_size()) for tensor in packer.tensors)


class _Packer(pickle.Pickler):
    """Writes a number in place of each tensor."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.tensors: list[Tensor] = []
        self._numbers: dict[int, int] = {}

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, Tensor):
            return None
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.tensors)
            self.tensors.append(_dense(value.detach()))
        return self._numbers[id(value)]


class _Unpacker(pickle.Unpickler):
    """Puts the tensors back."""

    def __init__(self, parcel: Parcel) -> None:
        super().__init__(io.BytesIO(parcel.text))
        self._parcel = parcel

    def persistent_load(self, number: int) -> Tensor:
        return self._parcel._tensor(number)


def _dense(tensor: Tensor) -> Tensor:
    """The tensor with as many elements in memory as it has; the order in which a kernel finds them stays."""
    if tensor.numel() == 0 or tensor.is_contiguous():
        return tensor.contiguous()
    order = sorted(range(tensor.ndim), key=lambda axis: (tensor.stride(axis), tensor.shape[axis]))
    expected = 1
    for axis in order:
        if tensor.shape[axis] != 1 and tensor.stride(axis) != expected:
            return tensor.contiguous()
        expected *= tensor.shape[axis]
    return tensor


def _aligned(count: int) -> int:
    return -(-count // ALIGNED) * ALIGNED

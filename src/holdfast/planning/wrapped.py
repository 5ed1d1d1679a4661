"""What a changed linear layer keeps for the backward pass, asked of the layer itself.

Methods change layers in dozens of ways: some scale what passes, some build a matrix from factors in every step, some
drop out and copy. No formula from shapes holds for all of them, so each kind of changed layer is called twice, with a
few positions, and what autograd saves is counted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_FEW, _MORE = 4, 12
"""Positions of the two calls; what grows from one to the other is kept for each position."""


@dataclass(frozen=True)
class Keeps:
    """Bytes that a changed layer keeps, its output left out.

    Attributes:
        reads: Whether it keeps its input, which other layers may read and keep as well.
        position: For every position, beside its input.
        once: Whatever the number of positions: matrices that it builds.
    """

    reads: bool
    position: int
    once: int


_ASKED: WeakKeyDictionary[nn.Module, dict[int, Keeps | None]] = WeakKeyDictionary()
"""What layers said, by what was added to them last, and by width; a plan for the largest batch asks many times."""


def keeps(layer: nn.Module, inside: nn.Linear, width: int, alike: dict[Any, Keeps | None]) -> Keeps | None:
    """What a linear layer keeps, with all that a method put around, beside and into it.

    Args:
        layer: As the model calls it: the wrapper, or the layer with its hooks.
        inside: The linear layer in it, which says how wide its input is.
        width: Bytes of a computed value; 2 means autocast to bfloat16.
        alike: What layers of the same method, kind and shapes said; is added to.

    Returns:
        None where it cannot be called by itself.
    """
    *_, newest = layer.modules()
    said = _ASKED.setdefault(newest, {})
    if width not in said:
        kind = _kind(layer, inside)
        if kind not in alike:
            alike[kind] = _ask(layer, inside, width)
        said[width] = alike[kind]
    return said[width]


def _kind(layer: nn.Module, inside: nn.Linear) -> Any:
    parts = [*layer.named_parameters(), *layer.named_buffers()]
    shapes = tuple((name, tuple(tensor.shape), tensor.dtype, tensor.requires_grad) for name, tensor in parts)
    chances = tuple(module.p for module in layer.modules() if isinstance(module, nn.Dropout))
    return type(layer), inside.in_features, inside.out_features, shapes, chances


def _ask(layer: nn.Module, inside: nn.Linear, width: int) -> Keeps | None:
    where = inside.weight.device
    try:
        with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []), torch.enable_grad():
            if where.type == "meta":
                layer, where = _with_values(layer), torch.device("cpu")
            with _training(layer):
                (reads, few), (_, more) = (_saved(layer, inside.in_features, width, n, where) for n in (_FEW, _MORE))
    except Exception:  # a method's own code, without its neighbours and its data, may fail in any way
        return None
    position = (more - few) // (_MORE - _FEW)
    copies = 0
    if width < 4:  # autocast's copies of trained matrices live through the step and are counted with the weights
        matrices = (part.weight for part in layer.modules() if isinstance(part, nn.Linear))
        copies = sum(width * matrix.numel() for matrix in matrices if matrix.requires_grad)
    return Keeps(reads=reads, position=position, once=max(0, few - position * _FEW - copies))


def _with_values(layer: nn.Module) -> nn.Module:
    """A copy on the CPU, of zeros, of a layer without values; the methods whose hooks stand at it are not copied."""
    parts = list(layer.modules())
    hooks = [hook for part in parts for hook in (*part._forward_hooks.values(), *part._forward_pre_hooks.values())]
    made = copy.deepcopy(layer, {id(hook.__self__): hook.__self__ for hook in hooks if hasattr(hook, "__self__")})
    made.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.zero_()
    for part in made.modules():
        for plain in vars(part).values():  # tensors that are neither parameters nor buffers: PEFT's places of entries
            if isinstance(plain, dict | list):
                for key in plain if isinstance(plain, dict) else range(len(plain)):
                    if isinstance(plain[key], Tensor) and plain[key].is_meta:
                        plain[key] = torch.zeros_like(plain[key], device="cpu")
    return made


@contextmanager
def _training(layer: nn.Module) -> Iterator[None]:
    """In training; behind it every part is as it was."""
    modes = {part: part.training for part in layer.modules()}
    try:
        layer.train()
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _saved(layer: nn.Module, inputs: int, width: int, count: int, where: torch.device) -> tuple[bool, int]:
    """Whether the input was kept, and the bytes of what else was."""
    dtype = torch.bfloat16 if width < 4 else torch.float32
    x = torch.zeros(1, count, inputs, device=where, dtype=dtype, requires_grad=True)
    own = {_place(part) for tensor in (*layer.parameters(), *layer.buffers()) for part in _parts(tensor)}
    found: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> None:
        # Held, so that no other tensor takes its place.
        found.update((_place(part), part) for part in _parts(tensor))

    with (
        torch.autocast(where.type, torch.bfloat16, enabled=width < 4),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        out: Tensor = layer(x)
    left = {at: part for at, part in found.items() if at not in own and at != _place(out)}
    reads = left.pop(_place(x), None) is not None
    size = sum(part.untyped_storage().nbytes() for part in left.values())
    found.clear()  # the graph holds the hook, the hook what it found, and that the graph: nobody would free them
    return reads, size


def _parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """The dense tensors that hold its values."""
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    return (tensor,)


def _place(tensor: Tensor) -> int:
    """The same for tensors that share their bytes."""
    return int(tensor.untyped_storage()._cdata)

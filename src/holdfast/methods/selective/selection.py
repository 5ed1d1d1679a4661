"""The selected entries of one parameter: where they are, what they are worth, what they were."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn


def pack(index: Tensor) -> Tensor:
    """Sorted places as the steps between them, in the smallest whole numbers that hold the longest step."""
    steps = torch.diff(index, prepend=index.new_zeros(1))
    longest = int(steps.max()) if steps.numel() else 0
    kinds = (torch.uint8, torch.int16, torch.int32, torch.int64)
    return steps.to(next(kind for kind in kinds if longest <= torch.iinfo(kind).max))


class Selected:
    """An index into one parameter, a float32 vector that the optimizer moves, and the base values to restore.

    Attributes:
        index: Sorted flat places ``[k]``, int32 (int64 above 2^31 values); kept as one byte a place where selected
            places are less than 256 apart, as they are at densities that are trained.
        base: What stood there before, ``[k]`` in the parameter's dtype.
        values: The trained values ``[k]``, float32; between steps the parameter holds the same.
        left: Places that were trained once and are no longer, with their base values.
        paused: Leave gradients to whoever runs the backward pass.
    """

    def __init__(self, parameter: nn.Parameter, index: Tensor) -> None:
        self.parameter = parameter
        self.index = index
        self.base = self.read(self.index)
        self.values = nn.Parameter(self.base.float().clone())
        # Empty tensors of their own: a view would keep the whole index alive.
        self.left = (self._small(index[:0].clone()), self.base[:0].clone())
        self.paused = False
        self._span: tuple[int, int, int] | None = None
        parameter.requires_grad_(True)
        self._hook = parameter.register_post_accumulate_grad_hook(self._gather)

    @property
    def index(self) -> Tensor:
        return self._packed.cumsum(0, dtype=self._kind)

    @index.setter
    def index(self, index: Tensor) -> None:
        self._kind = torch.int32 if self.parameter.numel() < 2**31 else torch.int64
        self._packed = pack(self._small(index))

    def _small(self, index: Tensor) -> Tensor:
        return index.to(self.parameter.device, self._kind)

    def _gather(self, parameter: Tensor) -> None:
        if self.paused:
            return
        assert parameter.grad is not None
        gradient = parameter.grad.reshape(-1).index_select(0, self._here).float()
        parameter.grad = None
        if self.values.grad is None:
            self.values.grad = gradient
        else:
            self.values.grad += gradient

    @torch.no_grad()
    def read(self, index: Tensor) -> Tensor:
        """What the parameter holds at these places."""
        return self.parameter.detach().reshape(-1).index_select(0, index)

    @torch.no_grad()
    def write(self, index: Tensor, values: Tensor) -> None:
        """Put values into the parameter."""
        self.parameter.data.view(-1).index_copy_(0, index.long(), values.to(self.parameter.dtype))

    def scatter(self) -> None:
        """Put the trained values into the parameter."""
        self.write(self._here, self.values.detach())

    @torch.no_grad()
    def divide(self, rows: range) -> None:
        """From now on the parameter holds these of its flat values, and the values are those selected among them."""
        ends = torch.tensor([rows.start, rows.stop], dtype=self._kind, device=self.parameter.device)
        begin, end = torch.searchsorted(self.index, ends).tolist()
        self._span = (begin, end, rows.start)
        self.values.data = self.values.data[begin:end].clone()

    def reunite(self) -> None:
        """Parameter and values are whole again."""
        self._span = None

    @property
    def _here(self) -> Tensor:
        """The places in what this process holds of the parameter."""
        if self._span is None:
            return self.index
        begin, end, first = self._span
        return self.index[begin:end] - first

    def ever(self) -> tuple[Tensor, Tensor]:
        """Every place that may differ from the base, and the base values there."""
        if not self.left[0].numel():
            return self.index, self.base
        return torch.cat([self.index, self.left[0]]), torch.cat([self.base, self.left[1]])

    def result(self) -> tuple[Tensor, Tensor]:
        """Every place that was ever trained, sorted, and the float32 values there."""
        if not self.left[0].numel():
            return self.index, self.values.detach()
        index = torch.cat([self.index, self.left[0]])
        order = index.argsort()
        return index[order], torch.cat([self.values.detach(), self.read(self.left[0]).float()])[order]

    @torch.no_grad()
    def move(self, index: Tensor, state: MutableMapping[str, Any]) -> None:
        """Select other places; ``state`` is what the optimizer keeps for :attr:`values` and is carried along."""
        new = self._small(index)
        places, bases = self.ever()
        values, base = self.read(new).float(), self.read(new)
        known, at = _find(new, places)
        base[known] = bases[at]
        stays, old = _find(new, self.index)
        values[stays] = self.values.detach()[old]
        for key, moment in state.items():
            if isinstance(moment, Tensor) and moment.shape == self.values.shape and moment.ndim:
                carried = torch.zeros_like(values, dtype=moment.dtype)
                carried[stays] = moment[old]
                state[key] = carried
        gone = ~torch.isin(places, new)
        self.left = (places[gone], bases[gone])
        self.index, self.base = new, base
        self.values.grad = None
        self.values.data = values

    def state(self) -> dict[str, Tensor]:
        """What an exact resume needs beside the values."""
        return {"index": self.index, "left": self.left[0], "left_values": self.read(self.left[0])}

    @torch.no_grad()
    def load(self, values: Tensor, state: dict[str, Tensor]) -> None:
        """Take up a checkpoint, whatever is selected now."""
        self.write(*self.ever())
        self.index, left = state["index"], self._small(state["left"])
        self.base, self.left = self.read(self.index), (left, self.read(left))
        self.write(left, state["left_values"].to(self.parameter.device))
        self.values.data = values.to(self.parameter.device)
        self.scatter()

    def close(self) -> None:
        """Restore the base bit for bit and stop gathering."""
        self._hook.remove()
        self.write(*self.ever())
        self.parameter.requires_grad_(False)
        self.parameter.grad = None


def _find(wanted: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """Positions in ``wanted`` that ``among`` holds too, and where it holds them."""
    order = among.argsort()
    held = torch.isin(wanted, among).nonzero().squeeze(1)
    return held, order[torch.searchsorted(among[order].contiguous(), wanted[held].contiguous())]

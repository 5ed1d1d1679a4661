"""Several processes at one run: which of them this is, what all agree on, and sums over all of them.

Every process does a share of each step's examples and holds the whole model, but for the llm's blocks where accelerate
was asked for FSDP2 or ZeRO-3. Gradients of what trains, and nothing else, are added up (by DeepSpeed under ZeRO-2).
torch's wrapper for this (DDP) would send the dense gradient of a sparse selection and would not know of values that
stand in no module, such as a prefix. The processes are started by ``holdfast tune --processes`` or by ``accelerate
launch``, and talk through torch's process group. One process alone asks nobody and pays nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from holdfast.errors import HoldfastError
from holdfast.launch import check_asked, check_zero, is_on, zero_stage

if TYPE_CHECKING:
    from torch import Tensor, nn

Value = TypeVar("Value")

Divider = Literal["", "FSDP", "DeepSpeed"]
"""Who divides something among processes, as accelerate was asked."""

BUCKET = 1 << 24
"""Values that are sent at once."""

_PATIENCE = timedelta(days=7)
"""For a process that waits for another run. A process that has ended is noticed by whoever started it."""

STARTED = "HOLDFAST_STARTED"
"""In the environment of processes that ``holdfast tune --processes`` has started."""

_COURTESY = 10.0
"""Seconds in which whoever started the processes ends them when one has ended."""

Asked = Literal["", "FSDP", "ZeRO-2", "ZeRO-3"]
"""What accelerate was asked for that divides something."""

_DIVIDERS: dict[Asked, Divider] = {"": "", "FSDP": "FSDP", "ZeRO-2": "DeepSpeed", "ZeRO-3": "FSDP"}

_asked_for: Asked = ""


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Until every process has come here."""
        if self.world > 1:
            with _heard():
                _torch().distributed.barrier()

    def same(self, value: Value) -> Value:
        """What the first process has, in all of them."""
        if self.world == 1:
            return value
        box = [value if self.first else None]
        with _heard():
            _torch().distributed.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def all(self, value: Value) -> list[Value]:
        """What each process has, in their order."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        with _heard():
            _torch().distributed.all_gather_object(found, value)
        return found

    def total(self, *values: float) -> list[float]:
        """Sums over all processes, in double precision; the same bits in each."""
        if self.world == 1:
            return list(values)
        torch = _torch()
        summed = torch.tensor(values, dtype=torch.float64)
        with _heard():
            torch.distributed.all_reduce(summed)
        return [float(value) for value in summed]

    def joined(self, tensor: Tensor, sizes: Sequence[int]) -> Tensor:
        """What all processes have, one after the other along the first axis.

        Args:
            tensor: This process's part.
            sizes: How long each process's part is.
        """
        if self.world == 1 or not max(sizes):
            return tensor
        torch, longest = _torch(), max(sizes)
        own = tensor.new_zeros((longest, *tensor.shape[1:]))  # all send as much
        own[: len(tensor)] = tensor
        found = [torch.empty_like(own) for _ in sizes]
        with _heard():
            torch.distributed.all_gather(found, own)
        return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])  # type: ignore[no-any-return]

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Put sums over all processes in the place of tensors, which are of the same shapes in each."""
        if self.world > 1:
            for bucket in _buckets(tensors):
                _add_up(bucket)

    def add_up_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients; where some process has one and this one has none, it counts as zero here."""
        if self.world == 1:
            return
        torch = _torch()
        reached = torch.tensor([float(parameter.grad is not None) for parameter in parameters])
        with _heard():
            torch.distributed.all_reduce(reached)
        found = [parameter for parameter, count in zip(parameters, reached.tolist(), strict=True) if count]
        for parameter in found:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.add_up(parameter.grad for parameter in found if parameter.grad is not None)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process goes through the block alone, then all others, who find what it has made."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


ALONE = Ranks()


class LostProcessError(HoldfastError):
    """Another process has gone, and it has said why."""


def here() -> Ranks:
    """This process among those of its run."""
    torch = sys.modules.get("torch")
    if torch is None or not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return ALONE
    return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())


def beside() -> int:
    """How many processes of this run share this machine with each other."""
    count = os.environ.get("LOCAL_WORLD_SIZE", "") if is_one_of_many() else ""
    return max(1, int(count)) if count.isdigit() else here().world


def sharded() -> bool:
    """Whether accelerate was asked to divide weights among the processes of this run."""
    return divided_by() == "FSDP"


def divided_by() -> Divider:
    """Who divides something among the processes of this run: weights and all that is theirs, or (DeepSpeed) gradients
    and what the optimizer keeps.
    """
    return _DIVIDERS[_asked_for]


def asked_for() -> str:
    """What accelerate was asked for that divides something; FSDP where nothing was."""
    return _asked_for or "FSDP"


def division() -> str:
    """What is divided among the processes while a recipe trains, and by whom; nothing where all is whole."""
    if not _asked_for:
        return ""
    what, by = "gradients and optimizer state", "DeepSpeed"
    if sharded():
        what, by = f"weights of the llm's blocks, their {what}", "FSDP2"
    asked = f" ({_asked_for} was asked for)" if _asked_for != "FSDP" else ""
    return f"{what} are divided among {here().world} processes by {by}{asked}"


def is_one_of_many() -> bool:
    """Whether a starter has made this process one of several."""
    return int(os.environ.get("WORLD_SIZE", "1") or 1) > 1 and "RANK" in os.environ


def join() -> Ranks:
    """Meet the other processes, where there are some; a second call changes nothing.

    Raises:
        HoldfastError: More processes than devices, or an engine that would take the weights apart.
    """
    if here().world > 1:
        return here()
    if not is_one_of_many():
        check_zero()
        os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)  # there is nobody to divide with
        return here()
    check_asked()
    torch = _torch()
    on_cpu = is_on(os.environ.get("ACCELERATE_USE_CPU", ""))
    if on_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    backend = "gloo"
    if not on_cpu and torch.cuda.is_available():
        place, devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        if beside > devices:
            raise HoldfastError(
                f"{beside} processes were started on this machine, which has {devices} GPU{'s' if devices > 1 else ''}",
                remedy=f"start {devices}, one a GPU",
            )
        torch.cuda.set_device(place)
        backend = "cpu:gloo,cuda:nccl"
    with _heard():
        torch.distributed.init_process_group(backend, timeout=_PATIENCE)
    os.environ.pop("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", None)  # the recipe says what is accumulated
    global _asked_for
    # What is divided here is not the whole model, and accelerate must not begin to do it.
    fsdp, zero = (is_on(os.environ.pop(f"ACCELERATE_USE_{name}", "")) for name in ("FSDP", "DEEPSPEED"))
    _asked_for = "FSDP" if fsdp else "" if not zero else "ZeRO-3" if zero_stage() == "3" else "ZeRO-2"
    if _asked_for == "ZeRO-3":
        # ZeRO-3 frees a block's weights behind its forward pass.
        os.environ |= {"FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true"}
    if divided_by() == "DeepSpeed" and (on_cpu or not torch.cuda.is_available()):
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # it would look for one, and say so
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"  # each process loads, so that each can choose and score
    return here()


def leave() -> None:
    """Take leave of the others at the end of a run."""
    if here().world > 1:
        _torch().distributed.destroy_process_group()


def let_others_speak(error: HoldfastError, *, asked: bool) -> None:
    """Before a process complains: of several that meet one mistake the first speaks, and ends the others by ending.

    A process that was killed says nothing. ``holdfast tune --processes`` says it then; where another starter made these
    processes, one of the first two does when it is ended.

    Args:
        error: What it would say.
        asked: Whether it was asked to end; that may come while a step is finished, before this finds the other gone.
    """
    lost = isinstance(error, LostProcessError)
    if not is_one_of_many() or (not lost and os.environ["RANK"] == "0"):
        return
    ended = lost and asked
    try:
        time.sleep(0 if ended else _COURTESY)
    except KeyboardInterrupt:
        ended = True
    if ended and (not lost or STARTED in os.environ or os.environ["RANK"] not in ("0", "1")):
        raise SystemExit(2)


@contextmanager
def heard_inside() -> Iterator[None]:
    """The same around work that talks to the others in between, as with weights that are divided."""
    try:
        yield
    except RuntimeError as error:
        if not any(word in str(error) for word in ("gloo", "NCCL", "Connection")):
            raise
        with _heard():
            raise


@contextmanager
def _heard() -> Iterator[None]:
    """Turn what torch raises when another process has gone into a sentence."""
    try:
        yield
    except RuntimeError as error:  # DistError and its kin are RuntimeErrors
        raise LostProcessError(
            f"another process of this run has ended or cannot be reached ({' '.join(str(error).split())[:200]})",
            remedy="see what it said; the same command goes on where it stopped",
        ) from error


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one dtype and device that follow each other, up to :data:`BUCKET` values at a time."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(one.numel() for one in bucket) + tensor.numel() > BUCKET
        if bucket and (full or (tensor.dtype, tensor.device) != (bucket[0].dtype, bucket[0].device)):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _add_up(tensors: Sequence[Tensor]) -> None:
    torch = _torch()
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors]) if len(tensors) > 1 else tensors[0].reshape(-1)
    with _heard():
        torch.distributed.all_reduce(flat)
    begin = 0
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(flat[begin : begin + tensor.numel()].view_as(tensor))
            begin += tensor.numel()


def _torch() -> Any:
    import torch
    import torch.distributed

    return torch

"""Coming values made in worker processes while the last one is in use: the batches of the next steps, or questions.

The workers are torch's DataLoader's. They are forked, so they find everything that makes a value where it is, and only
numbers go to them. A value is a function of its number, so who makes it changes nothing. Nothing here draws from the
random generator of the process, and a worker's own is never asked.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from holdfast.data.contents import cores
from holdfast.errors import HoldfastError
from holdfast.ranks import beside
from holdfast.speed.decision import Decision
from holdfast.speed.parcel import Parcel, size_of
from holdfast.stopping import ASKED

Value = TypeVar("Value")

ENOUGH = 8
"""That ``auto`` takes: more of them hardly ever serve one GPU faster."""

DEEP = 2
"""Values a worker is ahead."""

MOST_BYTES = 4 << 30
"""Of values that are made and not yet taken."""

SHARED = "/dev/shm"
"""Where Linux keeps memory that processes share; in a container often 64 MB."""

_LOST = "DataLoader worker"
"""What torch's sentence about a worker that has ended begins with."""


@dataclass(frozen=True)
class Failed:
    """A mistake on its way out of a worker, for an exception would lose its item on that way."""

    error: HoldfastError


class Ahead(Generic[Value]):
    """Values by number, taken in rising order; the workers end with the block that this is entered for.

    Taking any other number than the next one begins anew there: after a step that ran out of memory, say, whose parts
    are others from then on. The first value is made by this process, which shows how much memory the others will take.

    Args:
        make: A value from its number and nothing else; called in workers.
        end: One more than the last number.
        workers: ``auto``: none on a CPU; on a GPU one a core but one, up to :data:`ENOUGH`, shared by the
            processes of the run on this machine.
        device: Where values are used.
        begin: Called in each worker, with how many there are.
        strict: Refuse workers that were asked for by number where they find no shared memory; off: go on without.
    """

    def __init__(
        self,
        make: Callable[[int], Value],
        *,
        end: int,
        workers: int | Literal["auto"] = 0,
        device: torch.device | str = "cpu",
        begin: Callable[[int], None] | None = None,
        strict: bool = True,
    ) -> None:
        self.make, self.end, self._begin = make, end, begin
        self.device = torch.device(device)
        self.asked = workers != "auto" and strict
        self.workers, self.decision = _count(workers, self.device)
        self._coming: Any = None
        self._begun = False
        self._next = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = self._lost(error)
        self.close()
        if lost is not None:
            raise lost from error

    def take(self, number: int) -> Value:
        """The value of ``number``.

        Raises:
            HoldfastError: It cannot be made; or a worker has ended.
        """
        try:
            if self._coming is not None and number == self._next:
                value = self._received(number)
            else:
                self.close()
                value = self.make(number)
                self._start(number + 1, value)
        except BaseException as error:
            lost = self._lost(error)
            self.close()
            if lost is not None:
                raise lost from error
            raise
        self._next = number + 1
        return value

    def close(self) -> None:
        """End the workers; what they have made is lost."""
        coming, self._coming = self._coming, None
        if coming is None:
            return
        coming._shutdown_workers()  # what deleting it does, unless an exception's traceback still holds it
        for worker in coming._workers:
            if worker.is_alive():  # it has not come back from a disk, and hears no other signal
                worker.kill()
                worker.join()

    def _lost(self, error: BaseException | None) -> HoldfastError | None:
        """What to say where a worker has ended; torch tells it in the midst of whatever this process does."""
        if self._coming is None or not isinstance(error, RuntimeError) or not str(error).startswith(_LOST):
            return None
        codes = [worker.exitcode for worker in self._coming._workers if worker.exitcode]
        how = f" by {signal.Signals(-codes[0]).name}" if codes and codes[0] < 0 else ""
        return HoldfastError(
            f"a process that prepares coming batches was ended{how}",
            remedy="lower speed.workers if memory was short; the same command goes on from what was kept last",
        )

    def _start(self, number: int, sample: Value) -> None:
        """Begin to make what follows; ``sample`` shows how large it is."""
        if not self.workers or number >= self.end:
            if self.workers and not self._begun:
                self.decision = Decision(False, "there is one batch only, which this process prepares")
            return
        size = max(size_of(sample), 1)
        room = min(_shared_memory() // (2 * beside()), MOST_BYTES)  # other values may be larger, by half as a rule
        workers = min(self.workers, room // size, self.end - number)
        if not workers:
            problem = f"{SHARED} has {room / 1e6:,.0f} MB to spare for batches of {size / 1e6:,.0f} MB"
            if self.asked:
                remedy = "give the container more (docker run --shm-size 8g), or set speed.workers: 0"
                raise HoldfastError(problem, remedy=remedy, key="speed.workers")
            self.workers, self.decision = 0, Decision(False, problem)
            return

        first = os.getpid()

        def begin(_: int) -> None:
            _settle(first)
            if self._begin is not None:
                self._begin(workers)

        with _no_threads_of_tokenizers(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This DataLoader will create")  # so many were asked for
            loader: DataLoader[Any] = DataLoader(
                _Numbers(self.make),
                sampler=range(number, self.end),
                batch_size=None,
                collate_fn=_as_it_is,
                num_workers=workers,
                prefetch_factor=DEEP if room >= DEEP * workers * size else 1,
                pin_memory=self.device.type == "cuda",
                worker_init_fn=begin,
                multiprocessing_context="fork",
                generator=torch.Generator(),  # or the process's own would be drawn from
            )
            self._coming = iter(loader)
        self._begun = True
        plural = "es prepare" if workers > 1 else " prepares"
        self.decision = Decision(True, f"{workers} process{plural} coming batches")

    def _received(self, number: int) -> Value:
        found, made = next(self._coming)
        assert found == number, f"value {found} came in place of {number}"
        if isinstance(made, Failed):
            raise made.error
        value: Value = made.open()
        return value


_PARTED = (OSError, EOFError, multiprocessing.AuthenticationError)
"""What the end of a pipe or socket gives whose other end was closed in the midst of a word."""


class _Numbers(Dataset[Any]):
    """A data set, as torch has it: its items are what the worker makes, packed."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __getitem__(self, number: int) -> _Made:
        try:
            return _Made(number, Parcel.of(self.make(number)))
        except HoldfastError as error:
            return _Made(number, Failed(error))


@dataclass(frozen=True)
class _Made:
    """What a worker sends; torch's thread that pins memory knows objects that can do it."""

    number: int
    value: Parcel | Failed

    def __iter__(self) -> Iterator[Any]:
        return iter((self.number, self.value))

    def pin_memory(self) -> _Made:
        return self if isinstance(self.value, Failed) else _Made(self.number, self.value.pin_memory())


def _as_it_is(value: Any) -> Any:
    return value


def _count(workers: int | Literal["auto"], device: torch.device) -> tuple[int, Decision]:
    """How many workers, and why.

    Raises:
        HoldfastError: Some are asked for and there can be none.
    """
    if workers == 0:
        return 0, Decision(False, "switched off")
    if workers == "auto" and device.type == "cpu":
        return 0, Decision(False, "on a CPU the step itself takes the cores")
    problem = _impossible()
    if problem and workers != "auto":
        raise HoldfastError(
            f"speed.workers is {workers}, and {problem}", remedy="set speed.workers: auto", key="speed.workers"
        )
    count = min(ENOUGH, cores() // beside() - 1) if workers == "auto" else workers
    if problem or count < 1:
        return 0, Decision(False, problem or "this process has one core")
    return count, Decision(True, "other processes prepare coming batches")


def _impossible() -> str:
    """Why this process can have no workers, as a clause; empty where it can."""
    if not sys.platform.startswith("linux"):
        return "workers need a system that can copy a process whole (Linux)"
    if multiprocessing.current_process().daemon:
        return "this process is a helper of another one, which may start none of its own"
    return ""


def _shared_memory() -> int:
    """Bytes of shared memory that are free."""
    try:
        found = os.statvfs(SHARED)
    except OSError:
        return MOST_BYTES
    return found.f_bavail * found.f_frsize


def _settle(parent: int) -> None:
    """What a worker of the process ``parent`` does first."""
    # Ctrl-C and a scheduler's signals go to every process of a job; the first process decides what they mean.
    for number in (signal.SIGINT, *ASKED):
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _hear
    _end_with(parent)
    gc.freeze()  # a collection would write into every object of the first process, and its memory would be copied


def _hear(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say nothing of a first process that leaves while it takes a batch: it knows why, and says so.

    What fails to hand over a tensor then is a thread of multiprocessing, which prints a traceback and goes on.
    """
    if threading.current_thread() is threading.main_thread() or not issubclass(kind, _PARTED):
        sys.__excepthook__(kind, error, trace)


def _end_with(parent: int) -> None:
    """Have the system end this process as soon as its parent has ended, however; at once where that was before.

    Otherwise the lock on the run folder, which a fork inherits, would outlive a killed run by some seconds.
    """
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def _no_threads_of_tokenizers() -> Iterator[None]:
    """Forked inside, a worker's tokenizer works without threads: those of the parent are not there any more."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

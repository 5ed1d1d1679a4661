"""What ends a run from outside: Ctrl-C, SIGTERM (Slurm, Kubernetes) and SIGUSR1 (Slurm's warning), all treated alike.

Each becomes a :class:`KeyboardInterrupt`, for which every long piece of work has its way to stop: training finishes its
step and writes a checkpoint, predictions stand line by line in their file. Only the exit code tells them apart.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ASKED = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Signals by which a scheduler asks a process to end; Windows has only the first."""

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes, as a shell reports SIGINT and SIGTERM."""

_LATER = 0.02
"""Seconds after which a request that was ignored is repeated."""

_received: list[int] = []


def exit_code() -> int:
    """What a process that was stopped exits with."""
    return TERMINATED if any(number in ASKED for number in _received) else INTERRUPTED


def requested() -> bool:
    """Whether a signal to end has come, noted or raised."""
    return bool(_received)


def was_asked(error: BaseException) -> bool:
    """Whether an error is what somebody made of the request to end, which may come in the middle of any import.

    Only causes are followed (``raise ... from``): what fails while a run is ended, such as a full disk, is to be told.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__
    return cause is not None


def raise_when_asked() -> None:
    """Let :data:`ASKED` do what Ctrl-C does from here on. Call it in a process of one's own only."""
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked helper process ends as it always did
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _received.append(number)
        if _while_torch_arrives(frame):
            _ask_later()
            return
        raise KeyboardInterrupt

    for number in ASKED:
        signal.signal(number, stop)
    _repeat_what_is_ignored(owner)


def _repeat_what_is_ignored(owner: int) -> None:
    """Ask again where the exception came while Python was cleaning up, which ignores it and prints a traceback."""
    usual = sys.unraisablehook

    def hear(ignored: sys.UnraisableHookArgs) -> None:
        if os.getpid() != owner or not isinstance(ignored.exc_value, KeyboardInterrupt):
            usual(ignored)
            return
        _ask_later()

    if hasattr(signal, "setitimer"):
        sys.unraisablehook = hear


def _while_torch_arrives(frame: FrameType | None) -> bool:
    """Whether torch is being imported: an exception in its native parts, which call Python, aborts the process."""
    while frame is not None and hasattr(signal, "setitimer"):
        if frame.f_code.co_name == "<module>" and str(frame.f_globals.get("__name__")).partition(".")[0] == "torch":
            return True
        frame = frame.f_back
    return False


def _ask_later() -> None:
    """Repeat the request in a moment. No thread: we may stand anywhere, with any lock held."""
    signal.signal(signal.SIGALRM, _ask_again)
    signal.setitimer(signal.ITIMER_REAL, _LATER)


def _ask_again(number: int, frame: FrameType | None) -> None:
    """Send ourselves the request once more, unless the work is done by now."""
    asked = _received[-1] if _received else signal.SIGINT
    signal.signal(number, signal.SIG_DFL)
    if callable(signal.getsignal(asked)):
        os.kill(os.getpid(), asked)


def end_at_once() -> None:
    """Let Ctrl-C and :data:`ASKED` end the process in silence from here on: its work is done, and it only leaves.

    Python calls what is to be called at exit after our last ``except``; an exception there would only be printed.
    """
    for number in (signal.SIGINT, *ASKED):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C or signal of :data:`ASKED` instead of stopping at once; a second one stops at once.

    Gives a function that says whether one came.
    Outside the main thread nothing is changed: whoever runs us handles signals.
    """
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        _received.append(number)
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = {}
    try:
        for number in (signal.SIGINT, *ASKED):
            before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

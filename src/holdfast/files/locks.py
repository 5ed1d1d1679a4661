"""One process at a time on what two must not write: run and study folders, base predictions, the feature cache.

The lock is the system's own on an open file (by the library filelock), so that it ends with its process however that
ends. Who holds it stands in a file beside, for the message alone; where that file is left by a dead process, the next
one writes its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files.records import read_json
from holdfast.files.writing import write_json, writing

_POLL = 0.2
"""Seconds between two looks at a lock that another process holds."""

_PATIENCE = 5.0
"""Seconds for which the name of a holder that has just begun is waited for."""


@contextmanager
def locked(
    path: str | Path, *, what: str, wait: Callable[[str], None] | None = None, named: bool = True
) -> Iterator[None]:
    """Hold a lock for the length of the block.

    Args:
        path: The lock's own file, made where it is missing; it stays.
        what: The file or folder that it guards, for the message.
        wait: Called once with who holds it, when another process does; then wait for that one. Without it, refuse.
        named: Write down who holds it; not worth its time where a lock is held for a moment.

    Raises:
        HoldfastError: Another process holds it and ``wait`` is not given, or the file cannot be written.
    """
    from filelock import FileLock

    file = Path(path)
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        if not _taken(lock, _PATIENCE if named and not _note(file).exists() else 0.0):
            if wait is None:
                raise HoldfastError(
                    f"this is in use by {holder(file)}", file=what, remedy="wait until that has ended, or stop it"
                )
            wait(holder(file))
            lock.acquire(poll_interval=_POLL)
    note = _note(file)
    try:
        if named:
            write_json(note, {"host": _host(), "process": os.getpid(), "since": time.time()}, indent=None)
        yield
    finally:
        if named:
            note.unlink(missing_ok=True)
        lock.release()


@contextmanager
def claimed(path: str | Path) -> Iterator[bool]:
    """Hold a lock for the length of the block if nobody else does, without waiting; gives whether it is held.

    Raises:
        HoldfastError: The lock's file cannot be written.
    """
    from filelock import FileLock

    file = Path(path)
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        mine = _taken(lock, 0.0)
    try:
        yield mine
    finally:
        if mine:
            lock.release()


def _taken(lock: Any, patience: float) -> bool:
    """Whether the lock could be had at once; who holds it may need a moment to write its name down."""
    from filelock import Timeout

    try:
        lock.acquire(blocking=False)
    except Timeout:
        end = time.monotonic() + patience
        while time.monotonic() < end and not _note(Path(lock.lock_file)).exists():
            time.sleep(_POLL / 10)
        return False
    return True


def holder(path: str | Path) -> str:
    """Who holds a lock, in words: process, machine, and since when."""
    try:
        found: Any = read_json(_note(Path(path)))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["since"]))
        return f"process {found['process']} on {found['host']} since {since}"
    except (HoldfastError, KeyError, TypeError, ValueError, OverflowError):  # it has just begun, or just ended
        return "another process"


def _note(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def _host() -> str:
    import socket  # not for every command

    return socket.gethostname()

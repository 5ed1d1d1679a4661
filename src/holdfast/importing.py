"""Importing large libraries without walking over them again and again.

torch and transformers leave 600,000 objects behind, and all of them stay. Python's cyclic garbage collector does not
know that: while they arrive it visits them over and over, and once more whenever it collects everything and when the
process ends. A process that is Holdfast's own (the command line) asks for what ``gc.freeze`` is made for; one that
belongs to a user's program is left as it is. ``benchmarks/startup.py`` measures what it saves.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = 100_000
"""New objects after which the collector looks at the new ones, while imports go on; Python's own number is 700."""


@contextmanager
def growing() -> Iterator[None]:
    """While many objects are made that all stay, such as the examples of a file, the collector does not visit them.

    Where imports still arrive (see :func:`begin`) it does not visit them later either.
    """
    worked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if worked:
            if _usual is not None:
                gc.freeze()
            gc.enable()


_usual: tuple[int, int, int] | None = None


def begin() -> None:
    """From here on imports arrive and the collector looks rarely. Call it in a process of one's own only."""
    global _usual
    if _usual is None:
        _usual = gc.get_threshold()
        gc.set_threshold(RARELY, *_usual[1:])


def done() -> None:
    """What is there now stays for good and is never visited again; the collector works as before.

    Without :func:`begin`, and when called again, nothing happens. Call it before weights are loaded: garbage in a cycle
    that is there now stays too.
    """
    global _usual
    if _usual is not None:
        gc.freeze()
        gc.set_threshold(*_usual)
        _usual = None

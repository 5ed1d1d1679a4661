"""What a chat template may not do: loop without an end, and say another thing tomorrow.

transformers renders templates in jinja's sandbox, which bounds one range (100,000) but no range within another. Here
the lines that the compiled template runs are counted: no clock, so that the same template is refused everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from types import FrameType
from typing import Any, Self

MOST_LINES = 300_000
"""Lines of a compiled template on a conversation of one question; known ones run some hundred, and this many take well
under a second."""

TODAY = datetime(2025, 1, 1)
"""What a template that writes the date is told, so that a run reads the same on the day it is resumed or asked."""

_FILE = "<template>"
"""What jinja calls the file of a template that was given as text."""


@contextmanager
def bounded() -> Iterator[None]:
    """Let templates run at most :data:`MOST_LINES` lines within.

    Raises:
        RuntimeError: One ran more.
    """
    left = MOST_LINES

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        left -= event == "line"
        if left < 0:
            raise RuntimeError(f"it ran {MOST_LINES:,} lines on one short question and did not end")
        return count

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return count if frame.f_code.co_filename == _FILE else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


class _Stopped(datetime):
    """The clock of templates."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls(TODAY.year, TODAY.month, TODAY.day, tzinfo=tz)


@contextmanager
def stopped_clock() -> Iterator[None]:
    """Within, ``strftime_now`` of templates tells :data:`TODAY`.

    The library takes nothing but plain data as a template's own names, so the clock that it reads is replaced.
    """
    from transformers.utils import chat_template_utils as library

    before = library.datetime
    library.datetime = _Stopped
    try:
        yield
    finally:
        library.datetime = before

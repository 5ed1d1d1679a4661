"""A bound on what a chat template does, so that one that loops is refused.

transformers renders templates in jinja's sandbox, which bounds one range (100,000) but no range within another. Here
the lines that the compiled template runs are counted: no clock, so that the same template is refused everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

MOST_LINES = 300_000
"""Lines of a compiled template on a conversation of one question; known ones run some hundred, and this many take well
under a second."""

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

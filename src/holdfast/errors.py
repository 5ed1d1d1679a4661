"""Errors for people: one sentence that says what was wrong, where, and what to do about it.

Everything Holdfast raises on bad input is a :class:`HoldfastError`. The command line prints its text and exits
with code 2; it never shows a traceback for one. Anything else that escapes is a fault of Holdfast's own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class HoldfastError(Exception):
    """A mistake in the input that a person can mend.

    Args:
        problem: What was wrong, as a clause without its full stop.
        file: The file in which it was found.
        line: The one-based line of that file.
        item: The id of the example or item concerned.
        remedy: What to do about it, as a sentence or clause.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        item: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = None if file is None else str(file)
        self.line = line
        self.item = item
        self.remedy = remedy
        super().__init__(str(self))

    @property
    def where(self) -> str:
        """The place in words, e.g. ``data.jsonl, line 3, item q17``; empty when there is none."""
        parts = [self.file or ""]
        if self.line is not None:
            parts.append(f"line {self.line}")
        if self.item is not None:
            parts.append(f"item {self.item}")
        return ", ".join(part for part in parts if part)

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        text = text.rstrip(".") + "."
        if self.remedy:
            text += " " + self.remedy[0].upper() + self.remedy[1:].rstrip(".")
            text += "" if text.endswith("?") else "."
        return text


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy that names the likeliest meant word and otherwise lists them all."""
    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(options)

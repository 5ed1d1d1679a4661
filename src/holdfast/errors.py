"""Errors for people: one sentence that says what was wrong, where, and what to do about it.

Everything Holdfast raises on bad input is a :class:`HoldfastError`. The command line prints its text and exits
with code 2; it never shows a traceback for one. Anything else that escapes is a fault of Holdfast's own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

LONGEST = 2000
"""Letters of a message: what a terminal shows without scrolling, whatever the input held."""

Kind = Literal["missing", "full", "unplanned"]
"""What a caller may want to know of a mistake: ``missing`` is a file or image that is not there, ``full`` a disk on
which nothing more can be written, ``unplanned`` a method that shapes alone do not tell anything about."""


class HoldfastError(Exception):
    """A mistake in the input that a person can mend.

    Args:
        problem: What was wrong, as a clause without its full stop.
        file: The file in which it was found.
        line: The one-based line of that file.
        item: The id of the example or item concerned.
        remedy: What to do about it, as a sentence or clause.
        key: The setting concerned, as a path from where it is known (``r``, ``tune.llm.r``); whoever knows more of
            the path puts it in front, see :func:`within`.
        kind: What a caller may want to tell apart.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        item: str | None = None,
        remedy: str | None = None,
        key: str = "",
        kind: Kind | None = None,
    ) -> None:
        self.problem = problem
        self.file = None if file is None else str(file)
        self.line = line
        self.item = item
        self.remedy = remedy
        self.key: tuple[str, ...] = tuple(key.split(".")) if key else ()
        self.kind = kind
        super().__init__(str(self))

    @property
    def where(self) -> str:
        """The place in words, e.g. ``data.jsonl, line 3, item q17``; empty when there is none."""
        parts = [cut(self.file or "", 400)]
        if self.line is not None:
            parts.append(f"line {self.line}")
        if self.item is not None:
            parts.append(f"item {cut(self.item, 200)}")
        return ", ".join(part for part in parts if part)

    def __str__(self) -> str:
        problem, remedy = cut(self.problem, 800), cut(self.remedy or "", 500)
        text = f"{self.where}: {problem}" if self.where else problem
        text = text.rstrip(".") + "."
        if remedy:
            text += " " + remedy[0].upper() + remedy[1:].rstrip(".")
            text += "" if text.endswith("?") else "."
        return text


def cut(text: str, longest: int) -> str:
    """``text`` on one line, without its middle where it is longer than ``longest`` letters.

    Half a surrogate pair, which no terminal and no file takes, is shown by its number.
    """
    text = " ".join(text.encode(errors="backslashreplace").decode().splitlines())
    if len(text) <= longest:
        return text
    half = (longest - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


@contextmanager
def within(*path: str | int) -> Iterator[None]:
    """Inside, a mistake that names a key names it below ``path``; one that names none concerns ``path`` itself."""
    try:
        yield
    except HoldfastError as error:
        error.key = (*map(str, path), *error.key)
        raise


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy that names the likeliest meant word and otherwise lists them all."""
    options = sorted(known)
    turned = [option for option in options if sorted(option) == sorted(word)]  # two letters in the other order
    close = turned or difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(options)

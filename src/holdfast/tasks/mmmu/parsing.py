"""Open answers by MMMU's own rules (``mmmu/utils/eval_utils.py`` of MMMU-Benchmark/MMMU, bb0b95a)."""

from __future__ import annotations

import re
from collections.abc import Iterable

Value = str | float

_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_TRIVIAL = frozenset(":,.!?;'")
_WITH_COMMAS = re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b")
_SCIENTIFIC = re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+")
_SIMPLE = re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])")


def open_values(response: str) -> set[Value]:
    """What an answer to an open question could mean: its key phrases and every number in them, normalised.

    A key phrase is what follows the last ``is ``, ``so ``, ``answer `` ... of a line (in the last line also ``=``), the
    shortest of them; without any, the whole answer. The official code lowers the text before it looks for sentences
    that begin with a capital, so that only line breaks part it.
    """
    phrases = _key_phrases(response)
    numbers = [number for phrase in phrases for number in _numbers(phrase)]
    return {value for text in (*phrases, *numbers) for value in normalised(text)}


def _key_phrases(response: str) -> list[str]:
    text = response.strip().strip(".").lower()
    lines = text.split("\n")
    found: list[str] = []
    for number, line in enumerate(lines, start=1):
        keys = (*_KEYS, "=") if number == len(lines) else _KEYS
        tails = [line.split(key)[-1].strip() for key in keys if key in line]
        shortest = ""
        for tail in tails:
            # An empty tail never stays: whatever follows takes its place, as in the official code.
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in _TRIVIAL:
            found.append(shortest)
    return found or [text]


def _numbers(text: str) -> list[str]:
    return [*_WITH_COMMAS.findall(text), *_SCIENTIFIC.findall(text), *_SIMPLE.findall(text)]


def normalised(text: str) -> tuple[Value, ...]:
    """A number rounded to two decimals, or lower-case text; a single letter is given a space on one side."""
    text = text.strip()
    try:
        return (round(float(text.replace(",", "")), 2),)
    except (ValueError, OverflowError):
        text = text.lower()
    return (f" {text}", f"{text} ") if len(text) == 1 else (text,)


def open_match(references: Iterable[str], values: Iterable[Value]) -> bool:
    """Whether a value is a reference's number, or a text that holds a reference's text (``eval_open``)."""
    wanted = [value for reference in references for value in normalised(reference)]
    texts = [value for value in wanted if isinstance(value, str)]
    return any(any(text in value for text in texts) if isinstance(value, str) else value in wanted for value in values)

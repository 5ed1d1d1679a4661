"""The entry of one recipe in ``scores.json``, looked at before anybody counts with it: a file may have been edited."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.values import JSON

_NUMBERS = ("trainable_percent", "learned", "forgot", "seconds")
_NUMBERS_IF_THERE = ("trainable", "seed")
_SCORES = ("E", "F", "O", "H")
_OF_A_TASK = ("before", "after", "n", "learned", "forgot")


def read_entry(recipes: Any, file: Path, *, remedy: str) -> JSON:
    """The one entry below ``recipes``, with every value that tables and studies count with.

    Args:
        recipes: What stands under that key.
        file: The file, for the message.
        remedy: What to do where it is damaged.

    Raises:
        HoldfastError: No entry, or a value of the wrong kind; the sentence names it.
    """
    if not isinstance(recipes, dict) or len(recipes) != 1:
        raise HoldfastError("the file holds no one recipe", file=file, remedy=remedy)
    entry = next(iter(recipes.values()))
    if (wrong := _wrong(entry)) is not None:
        raise HoldfastError(f"the file is damaged ({wrong})", file=file, remedy=remedy)
    return dict(entry)


def _wrong(entry: Any) -> str | None:
    """Where the entry is not what a run writes, in words."""
    if not isinstance(entry, dict):
        return "the recipe is no object"
    for key in ("name", "method"):
        if not isinstance(entry.get(key, "" if key == "method" else None), str):
            return f"'{key}' is no text"
    for key in _NUMBERS:
        if not _is_number(entry.get(key)):
            return f"'{key}' is no number"
    for key in _NUMBERS_IF_THERE:
        if not _is_number(entry.get(key, 0)):
            return f"'{key}' is no number"
    for key in _SCORES:
        if key not in entry or not (entry[key] is None or _is_number(entry[key])):
            return f"'{key}' is neither a number nor null"
    for part in ("target", "sources"):
        tasks = entry.get(part)
        if not isinstance(tasks, dict) or (part == "target" and len(tasks) != 1):
            return f"'{part}' holds no tasks"
        for name, task in tasks.items():
            if not isinstance(task, dict):
                return f"'{part}.{name}' is no object"
            for key in _OF_A_TASK:
                if not _is_number(task.get(key)):
                    return f"'{part}.{name}.{key}' is no number"
    for key, kind, name in (("left_out", dict, "object"), ("leaks", list, "list"), ("still_learning", str, "text")):
        if not isinstance(entry.get(key), (kind, type(None))):
            return f"'{key}' is no {name}"
    left_out = entry.get("left_out") or {}
    if any(not isinstance(names, (dict, list)) for names in left_out.values()):
        return "'left_out' names no tasks"
    if any(not (isinstance(leak, dict) and "sentence" in leak) for leak in entry.get("leaks") or ()):
        return "a leak has no sentence"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

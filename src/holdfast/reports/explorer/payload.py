"""The items of the page as columns of JSON: shared columns stored once, long ones compressed, all of it inert."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.reports.explorer.thumbnails import Thumbnails
from holdfast.verdict.records import OUTCOMES, Comparison, Pair, TaskComparison

LONGEST_TEXT = 1_500
MOST_ITEMS = 400_000
COMPRESS_FROM = 1_500_000
"""Characters of JSON from which a block is gzipped; smaller ones stay readable in the file."""
_DIGITS = re.compile(r"(\d+)")


@dataclass
class Payload:
    """The data of the page.

    Attributes:
        index: What the script reads first: recipes, tasks, which blocks hold their items.
        blocks: Blocks of columns by name: ``(text, compressed)``.
        notes: Caps that were reached, for people.
    """

    index: dict[str, Any]
    blocks: dict[str, tuple[str, bool]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def build_payload(comparisons: Mapping[str, Comparison], thumbnails: Thumbnails) -> Payload:
    """Columns of all comparisons.

    Args:
        comparisons: By recipe.
        thumbnails: Collects the pictures.

    Returns:
        The payload. With more than :data:`MOST_ITEMS` items in all, every flip is kept and the rest is thinned evenly.
    """
    total = sum(task.n for comparison in comparisons.values() for task in comparison.tasks.values())
    step = -(-total // MOST_ITEMS)
    payload = Payload(index={"recipes": [], "outcomes": list(OUTCOMES)})
    names: dict[str, str] = {}
    _collect_pictures(comparisons, thumbnails)
    for recipe, comparison in comparisons.items():
        tasks = []
        for task in comparison.tasks.values():
            pairs = sorted(_thinned(task, step), key=lambda pair: _natural(pair.before.id))
            shared, own = _columns(pairs, thumbnails)
            tasks.append(
                {
                    "name": task.name,
                    "role": task.role,
                    "n": task.n,
                    "counts": {outcome: task.counts[outcome] for outcome in OUTCOMES},
                    "shared": _block(shared, payload, names),
                    "own": _block(own, payload, names),
                }
            )
        payload.index["recipes"].append({"name": recipe, "tasks": tasks})
    payload.index["pictures"] = _block(thumbnails.pictures, payload, names)
    if step > 1:
        payload.notes.append(
            f"This page lists every item that flipped and one in {step} of the others; the counts are of all items."
        )
    if thumbnails.capped:
        payload.notes.append(
            f"Pictures are shown for {len(thumbnails.pictures):,} images, those of forgotten items first, to keep the "
            "file small."
        )
    if thumbnails.finder.refused:
        payload.notes.append(
            f"{thumbnails.finder.refused:,} pictures are not shown: they stand outside the folders that this page may "
            "read. --images FOLDER names another one."
        )
    return payload


def inert(value: Any) -> str:
    """JSON that can stand inside a script element: no ``<``, ``>`` or ``&``, no line separators."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _collect_pictures(comparisons: Mapping[str, Comparison], thumbnails: Thumbnails) -> None:
    """Look pictures up in the order of interest, so that a cap costs the least interesting ones."""
    for outcome in OUTCOMES:
        for comparison in comparisons.values():
            for task in comparison.tasks.values():
                for pair in task.pairs:
                    if pair.outcome == outcome:
                        thumbnails.index_of(pair.before.image or pair.after.image)


def _thinned(task: TaskComparison, step: int) -> Sequence[Pair]:
    if step <= 1:
        return task.pairs
    flips = [pair for pair in task.pairs if pair.outcome in ("forgot", "learned")]
    rest = [pair for pair in task.pairs if pair.outcome in ("kept", "never")]
    return [*flips, *rest[::step]]


def _columns(pairs: Sequence[Pair], thumbnails: Thumbnails) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns that do not depend on the recipe, and those that do."""
    shared = {
        "id": [pair.before.id for pair in pairs],
        "question": [_clip(pair.before.question or pair.after.question) for pair in pairs],
        "references": [_references(pair) for pair in pairs],
        "choices": _sparse([[_clip(choice) for choice in pair.before.choices or pair.after.choices] for pair in pairs]),
        "image": [thumbnails.index_of(pair.before.image or pair.after.image) for pair in pairs],
        "answer": [_clip(pair.before.prediction or "") for pair in pairs],
        "score": [_score(pair.before.score) for pair in pairs],
        "lenient": _sparse([_score(pair.before.lenient) for pair in pairs]),
        "truncated": _sparse([int(pair.before.truncated) for pair in pairs]),
    }
    own = {
        "answer": [_clip(pair.after.prediction or "") for pair in pairs],
        "score": [_score(pair.after.score) for pair in pairs],
        "lenient": _sparse([_score(pair.after.lenient) for pair in pairs]),
        "truncated": _sparse([int(pair.after.truncated) for pair in pairs]),
        "outcome": [OUTCOMES.index(pair.outcome) for pair in pairs],
    }
    return shared, own


def _references(pair: Pair) -> list[str]:
    """Distinct references, the commonest first: ten annotators often say the same."""
    counts: dict[str, int] = {}
    for reference in pair.before.references or pair.after.references:
        counts[reference] = counts.get(reference, 0) + 1
    ranked = sorted(counts, key=lambda text: -counts[text])[:10]
    return [_clip(text) + (f" ×{counts[text]}" if counts[text] > 1 else "") for text in ranked]


def _score(score: float | None) -> float | int | None:
    if score is None:
        return None
    rounded = round(float(score), 4)
    return int(rounded) if rounded.is_integer() else rounded


def _sparse(column: list[Any]) -> list[Any] | None:
    """A column without content is left out."""
    return column if any(value not in (None, 0, []) for value in column) else None


def _clip(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]} … ({len(text):,} characters, cut on this page)"


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key under which q2 stands before q10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(text) if part]


def _block(content: Any, payload: Payload, names: dict[str, str]) -> str:
    text = inert(content)
    name = names.setdefault(text, f"block-{len(names)}")
    if name not in payload.blocks:
        compressed = len(text) >= COMPRESS_FROM
        if compressed:
            text = base64.b64encode(gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)).decode("ascii")
        payload.blocks[name] = (text, compressed)
    return name

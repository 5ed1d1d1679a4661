"""The items of the page as columns of JSON: shared columns stored once, long ones compressed, all of it inert."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.predictions.record import Prediction
from holdfast.reports.explorer.thumbnails import Thumbnails
from holdfast.values import JSON
from holdfast.verdict.records import OUTCOMES, Comparison, Pair, TaskComparison

LONGEST_TEXT = 1_500
AROUND = 160
"""Characters shown on both sides of the place of a long answer at which its reading stands."""
MOST_ITEMS = 400_000
COMPRESS_FROM = 1_500_000
"""Characters of JSON from which a block is gzipped; smaller ones stay readable in the file."""
_BOUNDARY = re.compile(r"\n+|<image>\s*|[.?!:]\s+")
_DIGITS = re.compile(r"(\d+)")


@dataclass
class Payload:
    """The data of the page.

    Attributes:
        index: What the script reads first: recipes, tasks, which blocks hold their items.
        blocks: Blocks of columns by name: ``(text, compressed)``.
        notes: Caps that were reached, for people.
        compress_from: Characters of a block from which it is packed.
    """

    index: JSON
    blocks: dict[str, tuple[str, bool]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    compress_from: int = COMPRESS_FROM


def build_payload(
    comparisons: Mapping[str, Comparison],
    thumbnails: Thumbnails,
    *,
    compress_from: int | None = None,
    key: str = "recipe",
) -> Payload:
    """Columns of all comparisons.

    Args:
        comparisons: By recipe.
        thumbnails: Collects the pictures.
        compress_from: Characters of a block from which it is packed; default: :data:`COMPRESS_FROM`.
        key: What the page's address calls a recipe.

    Returns:
        The payload. With more than :data:`MOST_ITEMS` items in all, every flip is kept and the rest is thinned evenly.
    """
    total = sum(task.n for comparison in comparisons.values() for task in comparison.tasks.values())
    step = -(-total // MOST_ITEMS)
    payload = Payload(index={"recipes": [], "outcomes": list(OUTCOMES), "key": key})
    payload.compress_from = COMPRESS_FROM if compress_from is None else compress_from
    names: dict[str, str] = {}
    _collect_pictures(comparisons, thumbnails)
    for recipe, comparison in comparisons.items():
        tasks = []
        for task in comparison.tasks.values():
            pairs = sorted(_thinned(task, step), key=lambda pair: _natural(pair.before.id))
            before, after = frame(list({pair.before.question or pair.after.question for pair in pairs}))
            shared, own = _columns(pairs, thumbnails, (len(before), len(after)))
            tasks.append(
                {
                    "name": task.name,
                    "role": task.role,
                    "n": task.n,
                    "frame": [before, after],
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


def frame(questions: Sequence[str]) -> tuple[str, str]:
    """What all questions of a task begin and end with: image marks and the prompt's boilerplate.

    Only whole lines and sentences count, so that questions which all begin alike keep their beginning; and nothing is
    taken where a question would be left empty.
    """
    if len(questions) < 2:
        return "", ""
    before = _beginning(questions)
    ends = [match.end() for match in _BOUNDARY.finditer(before)]
    before = before[: ends[-1]] if ends else ""
    rest = [question[len(before) :] for question in questions]
    after = _beginning([question[::-1] for question in rest])[::-1]
    begins = [match.end() for match in _BOUNDARY.finditer(after)]
    # A line end before the shared part belongs to it; the mark that ends the question's own sentence does not.
    after = after[begins[0] :] if begins else ""
    if any(not question.removesuffix(after).strip() for question in rest):
        return "", ""
    return before, after


def _beginning(texts: Sequence[str]) -> str:
    """The longest beginning that all have, which is that of the first and the last in order."""
    first, last = min(texts), max(texts)
    length = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:length]


def _columns(pairs: Sequence[Pair], thumbnails: Thumbnails, framed: tuple[int, int]) -> tuple[JSON, JSON]:
    """Columns that do not depend on the recipe, and those that do."""

    def question(pair: Pair) -> str:
        text = pair.before.question or pair.after.question
        return _clip(text[framed[0] : len(text) - framed[1]].strip() if text else text)

    shared = {
        "id": [pair.before.id for pair in pairs],
        "question": [question(pair) for pair in pairs],
        "references": [_references(pair) for pair in pairs],
        "choices": _sparse([[_clip(choice) for choice in pair.before.choices or pair.after.choices] for pair in pairs]),
        "image": [thumbnails.index_of(pair.before.image or pair.after.image) for pair in pairs],
        **_side([pair.before for pair in pairs]),
    }
    own = _side([pair.after for pair in pairs])
    return shared, own | {"outcome": [OUTCOMES.index(pair.outcome) for pair in pairs]}


def _side(answers: Sequence[Prediction]) -> JSON:
    """The columns of one model's answers."""
    return {
        "answer": [_clip(answer.prediction or "", answer.parsed) for answer in answers],
        "parsed": _sparse([_reading(answer) for answer in answers]),
        "score": [_score(answer.score) for answer in answers],
        "lenient": _sparse([_score(answer.lenient) for answer in answers]),
        "truncated": _sparse([int(answer.truncated) for answer in answers]),
    }


def _reading(answer: Prediction) -> str | None:
    """What was read from an answer, where that is not the answer itself."""
    read = answer.parsed
    return None if read is None or read == (answer.prediction or "").strip() else _clip(read)


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


def _clip(text: str, read: str | None = None) -> str:
    """A long text without parts of its middle; the last place at which ``read`` stands is kept."""
    if len(text) <= LONGEST_TEXT:
        return text
    edge = LONGEST_TEXT // 2 - 2 * AROUND
    kept = [(0, edge), (len(text) - edge, len(text))]
    at = text.lower().rfind(read.lower()) if read else -1
    if edge <= at < len(text) - edge:
        kept.insert(1, (max(edge, at - AROUND), min(len(text) - edge, at + len(read or "") + AROUND)))
    parts, place = [], 0
    for begin, end in kept:
        if begin > place:
            parts.append(f" … ({begin - place:,} characters not shown) … ")
        parts.append(text[begin : min(end, begin + 2 * edge)])
        place = end
    return "".join(parts)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key under which q2 stands before q10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(text) if part]


def _block(content: Any, payload: Payload, names: dict[str, str]) -> str:
    text = inert(content)
    name = names.setdefault(text, f"block-{len(names)}")
    if name not in payload.blocks:
        compressed = len(text) >= payload.compress_from
        if compressed:
            text = base64.b64encode(gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)).decode("ascii")
        payload.blocks[name] = (text, compressed)
    return name

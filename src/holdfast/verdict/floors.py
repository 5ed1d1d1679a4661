"""What a task gives without its images: the score that a change has to be read against.

A score that needs no image says nothing about seeing, and one at the bottom of its scale cannot fall. Three blind
answers are tried, and the best of them is the floor: always the same one, the commonest of the very question text, and
a guess among the options. The second is learned on one half of the images and scored on the other, for on its own
items a question that is asked once would always be answered right.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.predictions.record import Prediction

ANNOTATORS = 10
"""So many answers of annotators make one reference of the VQA family, three of which agreeing give 0.9."""

Credits = Mapping[str, float]


@dataclass(frozen=True)
class BlindFloor:
    """The best score without the images.

    Attributes:
        score: As a share.
        how: The answer that gives it, in words.
    """

    score: float
    how: str


def blind_floor(items: Sequence[Prediction]) -> BlindFloor | None:
    """The floor of a task.

    Args:
        items: With their references; where a metric forgives more than capitals and spaces, the floor is a lower bound.

    Returns:
        ``None`` where there is none: no references, or the same answer to every item, which no image is needed to
        tell from another.
    """
    known: dict[tuple[str, ...], Credits] = {}
    credits = []
    for item in items:
        if not item.references:
            return None
        credit = known.get(item.references)
        if credit is None:
            credit = known[item.references] = _credits(item.references)
        credits.append(credit)
    totals = _totals(credits)
    if len(totals) < 2:
        return None
    answer = min(totals, key=lambda text: (-totals[text], text))
    best = [BlindFloor(totals[answer] / len(items), f"always answering '{_short(answer)}'")]
    by_question = _by_question(items, credits, answer)
    if by_question is not None:
        best.append(BlindFloor(by_question, "the commonest answer to each question text"))
    if all(item.choices for item in items):
        chance = sum(1 / len(item.choices) for item in items) / len(items)
        best.append(BlindFloor(chance, "a guess among the options"))
    return max(best, key=lambda floor: round(floor.score, 9))  # of equals the simplest


def _credits(references: tuple[str, ...]) -> Credits:
    """What each answer would score on an item with these references."""
    counts = Counter(" ".join(reference.lower().split()) for reference in references)
    if len(references) == ANNOTATORS:
        return {text: min(1.0, 0.3 * count) for text, count in counts.items()}
    return dict.fromkeys(counts, 1.0)


def _totals(credits: Sequence[Credits]) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for credit in credits:
        for text, value in credit.items():
            totals[text] += value
    return totals


def _by_question(items: Sequence[Prediction], credits: Sequence[Credits], otherwise: str) -> float | None:
    """Mean score of the commonest answer of each question text; ``None`` where no text is asked of two images."""
    asked = Counter(item.question for item in items)
    if max(asked.values()) < 2:
        return None
    halves: tuple[dict[str, dict[str, float]], ...] = ({}, {})
    sides = [zlib.crc32((item.image or item.id).encode("utf-8", "replace")) & 1 for item in items]
    for item, credit, side in zip(items, credits, sides, strict=True):
        if asked[item.question] > 1:
            totals = halves[side].setdefault(item.question, {})
            for text, value in credit.items():
                totals[text] = totals.get(text, 0.0) + value
    answers = [
        {question: min(totals, key=lambda text: (-totals[text], text)) for question, totals in half.items()}
        for half in halves
    ]
    scored = (
        credit.get(answers[1 - side].get(item.question, otherwise), 0.0)
        for item, credit, side in zip(items, credits, sides, strict=True)
    )
    return sum(scored) / len(items)


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:23]}…"

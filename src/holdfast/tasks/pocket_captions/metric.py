"""Hallucinations in captions of pocket scenes, counted as CHAIR counts those in captions of COCO.

CHAIR (Rohrbach et al. 2018, arXiv 1809.02156) looks for the names of a closed list of objects in a caption and holds
them against what is in the picture. The pocket world's list is short, and what was drawn is known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, verdict
from holdfast.metrics.text.normalise import normalise, words
from holdfast.pocket.words import COLORS, NUMBERS, PATTERNS, SHAPES, TISSUES
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

ANYTHING = "object"


@dataclass(frozen=True)
class Mention:
    """One thing that a caption names; a colour that it does not say is empty."""

    kind: str
    color: str = ""

    def is_a(self, other: Mention) -> bool:
        """Whether it may mean that thing of a picture."""
        return self.kind in (other.kind, ANYTHING) and self.color in (other.color, "")

    def __str__(self) -> str:
        return f"{self.color} {self.kind}".strip()


def mentions(text: str) -> list[Mention]:
    """What a text names: shapes and objects, each with the colour in front of it, patterns, and what targets teach to
    say of other pictures (``tumor tissue``, ``code seven``)."""
    found = []
    said = words(text)
    for before, word in zip(["", *said], said, strict=False):
        if word in (*SHAPES, ANYTHING):
            found.append(Mention(word, before if before in COLORS else ""))
        elif word in PATTERNS:
            found.append(Mention(word))
        elif word in TISSUES:
            found.append(Mention(f"{word} tissue"))
        elif word in NUMBERS and before == "code":
            found.append(Mention(f"code {word}"))
    return found


def absent(mentioned: Sequence[Mention], there: Sequence[Mention]) -> tuple[list[Mention], list[Mention]]:
    """What is named and is not there, and what is there and is not named.

    A thing of the picture can be named once: of two red circles in a caption of one, the second is not there. The most
    specific names choose first.
    """
    left, wrong = list(there), []
    for mention in sorted(mentioned, key=lambda one: (one.kind == ANYTHING, not one.color)):
        meant = next((thing for thing in left if mention.is_a(thing)), None)
        if meant is None:
            wrong.append(mention)
        else:
            left.remove(meant)
    return wrong, left


class PocketCaption(ItemMetric):
    """Share of captions that name something and nothing that is not there, in points.

    In the details, in points: ``CHAIRs``, captions that name something that is not there; ``CHAIRi``, how much of what
    is named is not there; ``coverage``, how much of what is there is named; ``silent``, captions that name nothing. The
    reference is the whole caption, so it says what is there. A caption that equals its reference is right whatever it
    names.
    """

    name = "pocket_caption"
    hallucinations = True

    def judge(self, item: Prediction, text: str) -> ItemScore:
        there = _there(item)
        mentioned = mentions(text)
        wrong, _ = absent(mentioned, there)
        if normalise(text) == normalise(item.references[0]):
            return verdict(item, 1.0, text.strip())
        if not mentioned:
            return verdict(item, 0.0, None)
        read = ", ".join(map(str, mentioned))
        if wrong:
            read += f"; not there: {', '.join(map(str, wrong))}"
        return verdict(item, float(not wrong), read)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        named = [mentions(item.prediction or "") for item in items]
        there = [_there(item) for item in items]
        missed = [absent(mentioned, things) for mentioned, things in zip(named, there, strict=True)]
        total, things = sum(map(len, named)), sum(map(len, there))
        return {
            "CHAIRs": 100 * fsum(bool(wrong) for wrong, _ in missed) / len(items),
            "CHAIRi": 100 * sum(len(wrong) for wrong, _ in missed) / total if total else 0.0,
            "coverage": 100 * (1 - sum(len(left) for _, left in missed) / things) if things else 0.0,
            "silent": 100 * fsum(not mentioned for mentioned in named) / len(items),
        }


def _there(item: Prediction) -> list[Mention]:
    if not item.references:
        raise HoldfastError("the item has no caption to compare with", item=item.id)
    return mentions(item.references[0])

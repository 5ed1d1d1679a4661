"""SEED-Bench: single choice over twelve dimensions, nine of images and three of video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.metrics.base import breakdown, points
from holdfast.metrics.ruled_choice import RuledChoice
from holdfast.metrics.text.choosing import Rule, first_character, letter_alone, vlmevalkit
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

DIMENSIONS: Mapping[int, str] = {
    1: "Scene Understanding",
    2: "Instance Identity",
    3: "Instance Attributes",
    4: "Instance Location",
    5: "Instances Counting",
    6: "Spatial Relation",
    7: "Instance Interaction",
    8: "Visual Reasoning",
    9: "Text Understanding",
    10: "Action Recognition",
    11: "Action Prediction",
    12: "Procedure Understanding",
}
"""``question_type_id`` of SEED-Bench-1, as its DATASET.md numbers them."""

LAST_OF_IMAGES = 9


def dimension(item: Prediction) -> str:
    """The item's dimension in words: what its ``question_type_id`` stands for, or its category; empty without both."""
    number = item.extra.get("question_type_id")
    if isinstance(number, str) and number.isdecimal():
        number = int(number)
    named = DIMENSIONS.get(number) if isinstance(number, int) else None
    return named or str(item.extra.get("category") or "")


class SEEDBench(RuledChoice):
    """Accuracy in points over all questions; by dimension, and over images and videos apart where both occur.

    Variants: ``vlmevalkit``, ``lmms_eval`` (the first character, case aside) and ``official``: the prediction is a
    letter and nothing else, for the official evaluation ranks the four options by likelihood and reads no answer.
    """

    name = "seedbench"
    rules: ClassVar[Mapping[str, Rule]] = {
        "vlmevalkit": vlmevalkit,
        "lmms_eval": first_character,
        "official": letter_alone,
    }
    variants = tuple(rules)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        table = breakdown(items, verdicts, dimension)
        details: JSON = {"by_dimension": table} if table else {}
        videos = {DIMENSIONS[number] for number in DIMENSIONS if number > LAST_OF_IMAGES}
        parts: dict[str, list[float]] = {}
        for item, each in zip(items, verdicts, strict=True):
            parts.setdefault("video" if dimension(item) in videos else "image", []).append(each.score)
        if len(parts) > 1:
            details |= {part: {"score": points(scores), "n": len(scores)} for part, scores in sorted(parts.items())}
        return details

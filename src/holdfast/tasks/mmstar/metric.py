"""MMStar: 1,500 questions over six capabilities of 250 each, and eighteen axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.metrics.base import breakdown
from holdfast.metrics.ruled_choice import RuledChoice
from holdfast.metrics.text.choosing import Rule, mmstar, ranked, vlmevalkit
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

AXES: Mapping[str, tuple[str, str, str]] = {
    "coarse perception": ("image scene and topic", "image style & quality", "image emotion"),
    "fine-grained perception": ("object counting", "recognition", "localization"),
    "instance reasoning": (
        *("single-instance reasoning", "cross-instance attribute reasoning", "cross-instance relation reasoning"),
    ),
    "logical reasoning": ("code & sequence reasoning", "diagram reasoning", "common reasoning"),
    "science & technology": (
        *("biology & chemistry & physics", "electronics & energy & mechanical eng."),
        "geography & earth science & agriculture",
    ),
    "math": ("geometry", "numeric commonsense and calculation", "statistical reasoning"),
}
_CAPABILITY_OF = {axis: capability for capability, axes in AXES.items() for axis in axes}


def capability(item: Prediction) -> str:
    """The item's category, or that of its axis; empty where neither is known."""
    return str(item.extra.get("category") or _CAPABILITY_OF.get(str(item.extra.get("l2_category")), ""))


class MMStar(RuledChoice):
    """Accuracy in points, by capability and axis.

    Variants: ``official`` (``MMStar_eval``: the letter opens the answer), ``vlmevalkit``, and ``lmms_eval``, whose
    headline is the mean over the eighteen axes and not over the items. The official table holds no options of their
    own (they stand in the question); the letters are A to D then.
    """

    name = "mmstar"
    rules: ClassVar[Mapping[str, Rule]] = {"official": mmstar, "vlmevalkit": vlmevalkit, "lmms_eval": ranked}
    variants = tuple(rules)
    tables: ClassVar[Mapping[str, str]] = {"by_l2_category": "l2_category"}

    def total(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> float:
        axes = breakdown(items, verdicts, "l2_category") if self.variant == "lmms_eval" else {}
        if not axes:
            return super().total(items, verdicts)
        return sum(axis["score"] for axis in axes.values()) / len(axes)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        categories = breakdown(items, verdicts, capability)
        details = {"by_category": categories} if categories else {}
        return details | super().details(items, verdicts) | {"mean_of_items": super().total(items, verdicts)}

"""MMStar: 1,500 questions over six capabilities of 250 each, and eighteen axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from holdfast.metrics.base import breakdown
from holdfast.metrics.ruled_choice import RuledChoice
from holdfast.metrics.text.choosing import Rule, mmstar, ranked, vlmevalkit
from holdfast.predictions.record import ItemScore, Prediction


class MMStar(RuledChoice):
    """Accuracy in points, by capability and axis.

    Variants: ``official`` (``MMStar_eval``: the letter opens the answer), ``vlmevalkit``, and ``lmms_eval``, whose
    headline is the mean over the eighteen axes and not over the items. The official table holds no options of their
    own (they stand in the question); the letters are A to D then.
    """

    name = "mmstar"
    rules: ClassVar[Mapping[str, Rule]] = {"official": mmstar, "vlmevalkit": vlmevalkit, "lmms_eval": ranked}
    variants = tuple(rules)
    tables: ClassVar[Mapping[str, str]] = {"by_category": "category", "by_l2_category": "l2_category"}

    def total(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> float:
        axes = breakdown(items, verdicts, "l2_category") if self.variant == "lmms_eval" else {}
        if not axes:
            return super().total(items, verdicts)
        return sum(axis["score"] for axis in axes.values()) / len(axes)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> dict[str, Any]:
        return super().details(items, verdicts) | {"mean_of_items": super().total(items, verdicts)}

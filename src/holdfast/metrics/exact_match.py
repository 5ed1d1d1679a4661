"""Exact match against the best of the reference answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import fsum

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, add_breakdowns, verdict
from holdfast.metrics.text.normalise import normalise, says
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

_FORMS: dict[str, Callable[[str], str]] = {
    "normalised": normalise,
    "strict": str.strip,
    "stripped": lambda text: text.strip().lower(),
    "lower": str.lower,
}


class ExactMatch(ItemMetric):
    """1 where the prediction equals any reference, 0 otherwise; the score is accuracy in points.

    Variants: ``normalised`` (case, spacing and outer punctuation aside), ``strict`` (character for character after
    stripping both), ``stripped`` (stripped and lower-cased: VLMEvalKit's OCR-VQA), ``lower`` (``text.lower() ==
    gold.lower()`` with no stripping: LoRASculpt and CoIN for IconQA and OCR-VQA). Lenient: the reference stands in the
    prediction as whole words.
    """

    name = "exact_match"
    variants = ("normalised", "strict", "stripped", "lower")

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the item has no reference answer", item=item.id)
        form = _FORMS[self.variant]
        parsed = form(text)
        # A blank reference is an annotation slip; nothing may match it.
        hit = any(parsed == form(ref) for ref in item.references if ref.strip())
        lenient = hit or any(normalise(text) == normalise(ref) or says(text, ref) for ref in item.references)
        return verdict(item, float(hit), parsed, float(lenient))

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        keys = {"by_answer_type": "answer_type", "by_question_type": "question_type", "by_category": "category"}
        details = add_breakdowns({}, items, verdicts, keys)
        types = details.get("by_question_type")
        if types:
            # What remote-sensing papers call average accuracy (AA), beside the overall one.
            details["mean_over_question_types"] = fsum(row["score"] for row in types.values()) / len(types)
        return details

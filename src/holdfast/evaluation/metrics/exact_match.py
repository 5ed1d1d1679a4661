"""Exact match against the best of the reference answers."""

from __future__ import annotations

from holdfast.errors import HoldfastError
from holdfast.evaluation.items import Item, ItemScore
from holdfast.evaluation.metrics.base import ItemMetric, verdict
from holdfast.evaluation.text.normalise import normalise, says


def _lower(text: str) -> str:
    return text.lower()


def _strip(text: str) -> str:
    return text.strip()


class ExactMatch(ItemMetric):
    """1 where the prediction equals any reference, 0 otherwise; the score is accuracy in points.

    Variants: ``normalised`` (case, spacing and outer punctuation aside), ``strict`` (character for character after
    stripping both), ``lower`` (``text.lower() == gold.lower()`` with no stripping: the rule of LoRASculpt and CoIN for
    IconQA and OCR-VQA). Lenient: the reference stands in the prediction as whole words.
    """

    name = "exact_match"
    variants = ("normalised", "strict", "lower")

    def judge(self, item: Item, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the item has no reference answer", item=item.id)
        form = {"normalised": normalise, "strict": _strip, "lower": _lower}[self.variant]
        parsed = form(text)
        # A blank reference is an annotation slip; nothing may match it.
        hit = any(parsed == form(ref) for ref in item.references if ref.strip())
        lenient = hit or any(normalise(text) == normalise(ref) or says(text, ref) for ref in item.references)
        return verdict(item, float(hit), parsed, float(lenient))

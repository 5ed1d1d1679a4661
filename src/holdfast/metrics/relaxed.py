"""Relaxed accuracy of ChartQA: numbers may be five per cent off."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, breakdown, verdict
from holdfast.metrics.text.normalise import normalise, says
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

TOLERANCE = 0.05


def number(text: str) -> float | None:
    """The text as a number, ``12%`` as 0.12; ``None`` for anything else, thousands separators included."""
    try:
        value = float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def relaxed_match(prediction: str, target: str) -> bool:
    """Pix2Struct's rule, quirks kept: a target of 0 is compared as text, and ``50%`` is not ``50``."""
    said, wanted = number(prediction), number(target)
    if said is not None and wanted:
        return abs(said - wanted) / abs(wanted) <= TOLERANCE
    return prediction.lower() == target.lower()


def loose_match(prediction: str, target: str) -> bool:
    """The same tolerance after stripping space, thousands commas, currency and per cent signs; 0 equals 0.0."""

    def plain(text: str) -> float | None:
        return number(normalise(text).replace(",", "").strip("$€£% "))

    said, wanted = plain(prediction), plain(target)
    if said is not None and wanted is not None:
        return abs(said - wanted) <= TOLERANCE * abs(wanted)
    return normalise(prediction) == normalise(target) or says(prediction, target)


class RelaxedAccuracy(ItemMetric):
    """Share of items within five per cent of a reference, in points; ``by_split`` holds the human and augmented halves.

    Lenient: see :func:`loose_match`.
    """

    name = "relaxed_accuracy"
    variants = ("pix2struct",)

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the item has no reference answer", item=item.id)
        hit = any(relaxed_match(text, reference) for reference in item.references if reference.strip())
        loose = hit or any(loose_match(text, reference) for reference in item.references if reference.strip())
        return verdict(item, float(hit), text.strip(), float(loose))

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        halves = breakdown(items, verdicts, "split")
        if not halves:
            return {}
        return {"by_split": halves, "mean_of_splits": sum(h["score"] for h in halves.values()) / len(halves)}

"""RealWorldQA: questions about photographs taken from vehicles and elsewhere, some with options and some without."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import ClassVar

from holdfast.metrics.base import verdict
from holdfast.metrics.ruled_choice import RuledChoice
from holdfast.metrics.text.choosing import Rule, ranked, vlmevalkit
from holdfast.metrics.text.normalise import normalise, says
from holdfast.predictions.record import ItemScore, Prediction


class RealWorldQA(RuledChoice):
    """Accuracy in points.

    A question whose gold is a word or number is right if the answer equals it, case, outer spaces and full stops at the
    end aside (lmms-eval's rule).

    Variants, for questions with options: ``vlmevalkit`` and ``lmms_eval``.
    """

    name = "realworldqa"
    rules: ClassVar[Mapping[str, Rule]] = {"vlmevalkit": vlmevalkit, "lmms_eval": ranked}
    variants = tuple(rules)

    def judge(self, item: Prediction, text: str) -> ItemScore:
        gold = item.references[0].strip() if item.references else ""
        if item.choices or (len(gold) == 1 and gold in ascii_uppercase):
            return super().judge(item, text)
        said = text.lower().strip().rstrip(".")
        loose = normalise(text) == normalise(gold) or says(text, gold)
        return verdict(item, float(said == gold.lower()), said, float(loose))

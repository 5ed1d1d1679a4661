"""GQA accuracy, its breakdowns, consistency and distribution."""

from __future__ import annotations

import string
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from math import fsum

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, add_breakdowns, check_items, points, verdict
from holdfast.metrics.text.normalise import normalise, says
from holdfast.predictions.record import ItemScore, Prediction, Score
from holdfast.values import JSON

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class GQA(ItemMetric):
    """Share of balanced questions answered exactly, in points.

    Variants: ``llava`` (closing full stops dropped and lower case before the comparison), ``strict`` (the official
    script: the strings are equal), ``lmms_eval`` (case and punctuation dropped on both sides).

    Reads from ``extra``: ``structural`` (query means open, the rest binary), ``semantic``, ``steps``, ``words``,
    ``group`` (for the distribution), ``entailed`` (ids, for consistency) and ``balanced``; items that are not balanced
    serve consistency only. Validity and plausibility need GQA's large choices file and are not computed.
    Lenient: the reference stands in the prediction as whole words.
    """

    name = "gqa"
    variants = ("llava", "strict", "lmms_eval")

    def form(self, text: str) -> str:
        """The prediction as it is compared."""
        if self.variant == "strict":
            return text
        if self.variant == "llava":
            return text.rstrip(".").lower()
        return text.lower().translate(_NO_PUNCTUATION).strip()

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the item has no reference answer", item=item.id)
        gold = item.references[0]
        parsed = self.form(text)
        hit = parsed == (self.form(gold) if self.variant == "lmms_eval" else gold)
        loose = hit or normalise(text) == normalise(gold) or says(text, gold)
        return verdict(item, float(hit), parsed, float(loose))

    def score(self, items: Sequence[Prediction], *, task: str = "") -> Score:
        check_items(items, task or self.name)
        balanced = [item for item in items if item.extra.get("balanced", True)]
        score = super().score(balanced, task=task)
        right = {v.id: v.score for v in self.judge_all(items)}
        consistency = [_entailed(item, right) for item in balanced if right[item.id]]
        known = [value for value in consistency if value is not None]
        if not known:
            return score
        return replace(score, details={**score.details, "consistency": points(known)})

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        details: JSON = {}
        if all(item.extra.get("structural") for item in items):
            for title, is_open in (("binary", False), ("open", True)):
                pairs = zip(items, verdicts, strict=True)
                chosen = [v.score for i, v in pairs if (i.extra["structural"] == "query") is is_open]
                details[title] = {"score": points(chosen), "n": len(chosen)}
        if any(item.extra.get("group") for item in items):
            details["distribution"] = _distribution(items, verdicts)
        keys = {"by_structural_type": "structural", "by_semantic_type": "semantic"}
        return add_breakdowns(details, items, verdicts, keys | {"by_steps": "steps", "by_words": "words"})


def _entailed(item: Prediction, right: dict[str, float]) -> float | None:
    """Share of the entailed questions answered right; ``None`` where none was asked."""
    others = [right[other] for other in item.extra.get("entailed", ()) if other != item.id and other in right]
    return fsum(others) / len(others) if others else None


def _distribution(items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> float:
    """Chi-square of predicted against gold answers, averaged over groups by size, over 100; lower is better."""
    gold: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for item, each in zip(items, verdicts, strict=True):
        group = item.extra.get("group")
        if group:
            gold[group][item.references[0]] += 1
            said[group][each.parsed or ""] += 1
    terms, sizes = [], 0
    for group, counts in sorted(gold.items()):
        size = sum(counts.values())
        chi = fsum((said[group][answer] - n) ** 2 / n for answer, n in sorted(counts.items()))
        terms.append(chi * size)
        sizes += size
    return fsum(terms) / sizes / 100

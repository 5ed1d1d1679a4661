"""PathVQA: yes/no and open questions, reported apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, points, verdict
from holdfast.metrics.text.normalise import normalise, says
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

_NOT_LETTERS = re.compile(r"[^a-z ]")


def letters(text: str) -> Counter[str]:
    """Words of the text, lower-cased and stripped to letters and spaces, with their counts."""
    return Counter(_NOT_LETTERS.sub("", text.lower()).split())


def word_precision(prediction: str, reference: str) -> float:
    """What the official script calls exact match: distinct reference words present, over words in the prediction."""
    said, wanted = letters(prediction), letters(reference)
    return sum(word in said for word in wanted) / said.total() if said else 0.0


def token_f1(prediction: str, reference: str) -> float:
    """The official script's F1: every occurrence of a shared word in the prediction counts."""
    said, wanted = letters(prediction), letters(reference)
    shared = sum(count for word, count in said.items() if word in wanted)
    if not shared:
        return 0.0
    precision = shared / said.total()
    recall = shared / (shared + sum(count for word, count in wanted.items() if word not in said))
    return 2 * precision * recall / (precision + recall)


def is_binary(item: Prediction) -> bool:
    """Whether the reference is yes or no."""
    return bool(item.references) and normalise(item.references[0]) in ("yes", "no")


class PathVQA(ItemMetric):
    """Accuracy in points; ``details`` gives yes/no and open questions apart, and token F1 of the open ones.

    Variants: ``exact`` (case, spacing and outer punctuation aside, everywhere) and ``f1`` (open questions score their
    token F1). The official script's 'exact match', a word precision, stands in the details. Lenient: the reference
    stands in the prediction as whole words.
    """

    name = "pathvqa"
    variants = ("exact", "f1")
    graded_variants = ("f1",)

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the item has no reference answer", item=item.id)
        gold = item.references[0]
        hit = normalise(text) == normalise(gold)
        loose = float(hit or says(text, gold))
        score = max(float(hit), token_f1(text, gold)) if self._by_f1(item) else float(hit)
        return verdict(item, score, normalise(text), loose)

    def _by_f1(self, item: Prediction) -> bool:
        return self.variant == "f1" and not is_binary(item)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        details: JSON = {}
        for title, binary in (("yes_no", True), ("open", False)):
            chosen = [(i, v) for i, v in zip(items, verdicts, strict=True) if is_binary(i) is binary]
            if not chosen:
                continue
            table: dict[str, float] = {"score": points(v.score for _, v in chosen), "n": len(chosen)}
            if not binary:
                said = [(i.prediction or "", i.references[0]) for i, _ in chosen]
                table["exact"] = points(float(bool(p) and normalise(p) == normalise(r)) for p, r in said)
                table["f1"] = points(token_f1(p, r) for p, r in said)
                table["word_precision"] = points(word_precision(p, r) for p, r in said)
            details[title] = table
        return details

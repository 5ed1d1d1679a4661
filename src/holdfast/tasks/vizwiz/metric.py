"""VizWiz unanswerability: does the model know that a question cannot be answered?"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, verdict
from holdfast.metrics.text.normalise import normalise, says
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

WORD = "unanswerable"


def confidence(item: Prediction) -> float:
    """How sure the model is that the question cannot be answered, 0 to 1.

    One minus the ``predicted_answerable`` that official result files carry; without it, 1 where the answer is
    ``unanswerable`` and 0 elsewhere.
    """
    given = item.extra.get("predicted_answerable")
    if given is not None:
        return 1.0 - float(given)
    return float(item.prediction is not None and normalise(item.prediction) == WORD)


def average_precision(labels: Sequence[bool], scores: Sequence[float]) -> float:
    """Area under the stepwise precision-recall curve, ties taken together as scikit-learn does.

    0 where there are no positives.
    """
    positives = sum(labels)
    if not positives:
        return 0.0
    ranked = sorted(zip(scores, labels, strict=True), key=lambda pair: -pair[0])
    hits = last = 0
    steps = []
    for at, (score, label) in enumerate(ranked):
        hits += label
        if at + 1 == len(ranked) or ranked[at + 1][0] != score:
            steps.append((hits - last) / positives * hits / (at + 1))
            last = hits
    return fsum(steps)


def unanswerability(items: Sequence[Prediction]) -> dict[str, float]:
    """Average precision and F1 (decided above .5) with unanswerable as the positive class, in points."""
    labels, scores = [_is_unanswerable(item) for item in items], [confidence(item) for item in items]
    said = [score > 0.5 for score in scores]
    both = sum(a and b for a, b in zip(labels, said, strict=True))
    f1 = 2 * both / (sum(labels) + sum(said)) if sum(labels) + sum(said) else 0.0
    return {
        "average_precision": 100 * average_precision(labels, scores),
        "f1": 100 * f1,
        "n": len(items),
        "unanswerable": sum(labels),
        "said_unanswerable": sum(said),
    }


def _is_unanswerable(item: Prediction) -> bool:
    value = item.extra.get("answerable")
    if value not in (0, 1):
        raise HoldfastError(f"answerable is {value!r} in the references, not 0 or 1", item=item.id)
    return not value


class VizWizUnanswerability(ItemMetric):
    """Average precision of 'unanswerable' in points (VizWiz challenge task 2); F1 stands in the details.

    An item scores 1 where the decision at .5 is right. Reads ``extra['answerable']`` (gold, 0 or 1) and, where the
    result file has it, ``extra['predicted_answerable']``. A blank or missing prediction without a confidence is wrong.
    """

    name = "vizwiz_unanswerability"

    def judge_all(self, items: Sequence[Prediction]) -> list[ItemScore]:
        verdicts = []
        for item in items:
            blank = item.prediction is None or not item.prediction.strip()
            if blank and item.extra.get("predicted_answerable") is None:
                verdicts.append(self.blank(item))
            else:
                verdicts.append(self.judge(item, item.prediction or ""))
        return verdicts

    def judge(self, item: Prediction, text: str) -> ItemScore:
        gold, said = _is_unanswerable(item), confidence(item) > 0.5
        lenient = says(text, WORD) == gold
        return verdict(item, float(said == gold), WORD if said else "answerable", float(lenient))

    def total(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> float:
        return unanswerability(items)["average_precision"]

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        return dict(unanswerability(items))

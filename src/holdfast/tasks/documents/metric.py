"""ST-VQA accuracy: the answer is one of the references after EvalAI processing."""

from __future__ import annotations

from holdfast.metrics.base import ItemMetric, verdict
from holdfast.metrics.text.normalise import says
from holdfast.metrics.text.vqa import evalai
from holdfast.predictions.record import ItemScore, Prediction


class STVQAAccuracy(ItemMetric):
    """Share of items whose processed prediction is among the processed references, in points (mmf's M4C evaluator).

    Lenient: a reference stands in the prediction as whole words.
    """

    name = "stvqa_accuracy"
    variants = ("evalai",)

    def judge(self, item: Prediction, text: str) -> ItemScore:
        prediction = evalai(text)
        hit = prediction in {evalai(reference) for reference in item.references if reference.strip()}
        loose = hit or any(says(prediction, evalai(reference)) for reference in item.references)
        return verdict(item, float(hit), prediction, float(loose))

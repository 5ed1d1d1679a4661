"""VQA soft accuracy: ten annotators, leave one out, in the four processings that published numbers use."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, add_breakdowns, verdict
from holdfast.metrics.text import vqa as text_vqa
from holdfast.metrics.text.normalise import says
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.tasks.vizwiz.metric import unanswerability
from holdfast.values import JSON

ANNOTATORS = 10
_TABLE = (0.0, 0.3, 0.6, 0.9)


def soft_score(matches: int) -> float:
    """Score of an answer that ``matches`` of ten annotators gave: the mean over left-out annotators of min(1, m/3)."""
    return _TABLE[matches] if matches < len(_TABLE) else 1.0


class VQAAccuracy(ItemMetric):
    """VQA soft accuracy in points, overall and by ``answer_type`` and ``question_type``.

    Variants differ in what is processed before answers are compared:

    - ``evalai``: prediction and answers, always, by the M4C/EvalAI processor (mmf, LLaVA TextVQA, lmms-eval).
    - ``official``: GT-Vision-Lab/VQA at a013f00: both, but only where the ten answers differ among themselves;
      otherwise case-sensitive equality. Capitalised predictions lose a quarter of their points here.
    - ``legacy``: the copy in LAVIS, LoRASculpt and CoIN: the prediction always, the answers only by punctuation
      and only where they differ.
    - ``vizwiz``: the prediction always, the answers never.

    Lenient: the best soft score of any answer that stands in the prediction as whole words.
    """

    name = "vqa_accuracy"
    variants = ("evalai", "official", "legacy", "vizwiz")
    graded = True

    def judge_all(self, items: Sequence[Prediction]) -> list[ItemScore]:
        for item in items:
            if len(item.references) != ANNOTATORS:
                raise HoldfastError(
                    f"{ANNOTATORS} answers expected and {len(item.references)} found",
                    item=item.id,
                    remedy="score a set with another number of answers by exact_match",
                )
        return super().judge_all(items)

    def judge(self, item: Prediction, text: str) -> ItemScore:
        prediction, answers = self.processed(text, item.references)
        score = soft_score(answers.count(prediction))
        lenient = None
        if score < 1.0:
            said = (a for a in set(answers) if a and says(prediction, a))
            lenient = max((soft_score(answers.count(a)) for a in said), default=None)
        return verdict(item, score, prediction, lenient)

    def processed(self, text: str, references: Sequence[str]) -> tuple[str, list[str]]:
        """Prediction and answers as this variant compares them."""
        if self.variant == "evalai":
            return text_vqa.evalai(text), [text_vqa.evalai(a) for a in references]
        if self.variant == "vizwiz":
            return text_vqa.official(text), list(references)
        if self.variant == "legacy":
            answers = list(references)
            if len(set(answers)) > 1:
                answers = [text_vqa.drop_punctuation(a) for a in answers]
            return text_vqa.official(text), answers
        answers = [text_vqa.strip_lines(a) for a in references]
        if len(set(answers)) > 1:
            return text_vqa.official(text), [text_vqa.official(a) for a in references]
        return text_vqa.strip_lines(text), answers

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        keys = {"by_answer_type": "answer_type", "by_question_type": "question_type"}
        details = add_breakdowns({}, items, verdicts, keys)
        if all("answerable" in item.extra for item in items):
            details["unanswerability"] = unanswerability(items)
        return details

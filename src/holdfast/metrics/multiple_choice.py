"""Multiple choice with option inference, judge-free and without randomness."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.metrics.base import ItemMetric, UnjudgeableError, add_breakdowns, verdict
from holdfast.metrics.text.options import exact_choice, gold_index, infer, letter
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON


def leading_letter(text: str, choices: Sequence[str]) -> int | None:
    """Option whose letter is the whole answer or opens it as ``B.``, and nothing else (lmms-eval's rule)."""
    text = text.strip()
    if len(text) == 1 or (len(text) >= 2 and text[1] == "."):
        index = ord(text[0]) - ord("A")
        return index if 0 <= index < len(choices) else None
    return None


class MultipleChoice(ItemMetric):
    """Accuracy in points over options; an answer that names no option is wrong and counted as unparsed.

    Variants: ``infer`` (letter alone, then option text, then ``answer is X``: VLMEvalKit without a judge), ``article``
    (the same, but a lone ``A`` in an answer of more than three words is an article), ``letter`` (the letter, or ``B.``
    in front: lmms-eval), ``text`` (the answer is the option's text, or its letter). Lenient: ``infer`` or ``text``.
    """

    name = "multiple_choice"
    variants = ("infer", "article", "letter", "text")

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if not item.choices:
            raise UnjudgeableError("the item has no choices", item=item.id)
        gold = gold_index(item)
        choice = self.parse(text, item.choices)
        loose = choice if choice is not None else _loosely(text, item.choices)
        parsed = None if choice is None else letter(choice)
        return verdict(item, float(choice == gold), parsed, float(loose == gold))

    def parse(self, text: str, choices: Sequence[str]) -> int | None:
        """Index of the option chosen, by this variant."""
        if self.variant == "letter":
            return leading_letter(text, choices)
        if self.variant == "text":
            exact = exact_choice(text, choices)
            return leading_letter(text, choices) if exact is None else exact
        return infer(text, choices, article_a=self.variant == "infer")

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        keys = {"by_category": "category", "by_subject": "subject", "by_split": "split"}
        return add_breakdowns({}, items, verdicts, keys)


def _loosely(text: str, choices: Sequence[str]) -> int | None:
    exact = exact_choice(text, choices)
    return infer(text, choices) if exact is None else exact

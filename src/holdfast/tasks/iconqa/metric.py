"""IconQA: three sub-tasks scored apart, and thirteen skills."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, add_breakdowns, verdict
from holdfast.metrics.text.normalise import normalise, says
from holdfast.metrics.text.options import exact_choice, gold_index, infer, letter
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

SUBTASKS = ("choose_img", "choose_txt", "fill_in_blank")


class IconQA(ItemMetric):
    """Accuracy in points, by sub-task, skill and grade.

    A choice item has ``choices`` and its gold index in ``extra['answer_index']`` or the references; a blank has
    references only.

    Variants: ``official`` (choices: the predicted index, or a text that gives exactly one choice, equals the
    answer's; blanks: the strings are equal) and ``lower`` (LoRASculpt: ``text.lower()`` equals the gold text in lower
    case, unstripped, for choices too). Lenient: option inference for choices, whole-word containment for blanks.
    """

    name = "iconqa"
    variants = ("official", "lower")

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if not item.choices:
            return self._blank(item, text)
        gold = gold_index(item)
        index = item.extra.get("predicted_index")
        if self.variant == "lower":
            text = item.choices[index] if index is not None and index < len(item.choices) else text
            hit = text.lower() == item.choices[gold].lower()
            loose = exact_choice(text, item.choices) == gold or infer(text, item.choices) == gold
            return verdict(item, float(hit), text.lower(), float(loose))
        choice = read_choice(text, item.choices) if index is None else index
        loose_choice = infer(text, item.choices) if choice is None else choice
        parsed = None if choice is None else str(choice)
        return verdict(item, float(choice == gold), parsed, float(loose_choice == gold))

    def _blank(self, item: Prediction, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the item has no reference answer", item=item.id)
        lower = self.variant == "lower"
        hit = any(text == ref or (lower and text.lower() == ref.lower()) for ref in item.references)
        loose = any(normalise(text) == normalise(ref) or says(text, ref) for ref in item.references)
        return verdict(item, float(hit), text.lower() if lower else text, float(loose))

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        keys = {"by_subtask": "subtask", "by_skill": "skills", "by_grade": "grade"}
        return add_breakdowns({}, items, verdicts, keys)


def read_choice(text: str, choices: Sequence[str]) -> int | None:
    """Index from a choice's text, a letter (``B`` or ``B.``) or an index; a choice's text goes first."""
    exact = exact_choice(text, choices)
    if exact is not None:
        return exact
    short = text.strip().rstrip(".")
    index = int(short) if short.isascii() and short.isdecimal() else -1
    if len(short) == 1 and short.isalpha():
        index = next((i for i in range(len(choices)) if letter(i) == short), -1)
    return index if 0 <= index < len(choices) else None

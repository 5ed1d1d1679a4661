"""ScienceQA by LLaVA's parser, over all questions and over those with an image."""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.metrics.base import ItemMetric, add_breakdowns, points, verdict
from holdfast.metrics.multiple_choice import leading_letter
from holdfast.metrics.text.options import exact_choice, gold_index, infer, letter
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

_LETTERS = "ABCDE"
# The closing dot of the official pattern is any character, so "The answer is B" at the very end does not match.
_SENTENCE = re.compile(r"The answer is ([A-Z]).")


def llava_parse(text: str) -> str | None:
    """Letter by LLaVA's ``eval_science_qa.py`` (c121f04), or ``None``.

    The whole text is a letter A to E; or it opens with such a letter and ``". "``; or ``The answer is X.`` occurs
    exactly once. The text is not stripped first.
    """
    if len(text) == 1 and text in _LETTERS:
        return text
    if len(text) >= 3 and text[0] in _LETTERS and text[1:3] == ". ":
        return text[0]
    found = _SENTENCE.findall(text)
    return found[0] if len(found) == 1 else None


class ScienceQA(ItemMetric):
    """Accuracy in points over all items; ``details['image']`` is the subset with an image, which papers quote.

    A letter beyond the question's choices, and a text from which no letter can be read, are wrong.

    Variants: ``llava`` (see :func:`llava_parse`), ``letter`` (lmms-eval: the letter or ``B.`` in front), ``infer``
    (VLMEvalKit's option inference), ``recorded`` (the index that a result file states under ``results``, read from
    ``extra['recorded']``; the GPT-3 script and LLaVA v0 drew a random option where nothing could be read).
    Lenient: option inference or the option's text.
    """

    name = "scienceqa"
    variants = ("llava", "letter", "infer", "recorded")

    def judge(self, item: Prediction, text: str) -> ItemScore:
        gold = gold_index(item)
        choice = self.parse(item, text)
        loose = choice
        if loose is None and item.choices:
            loose = exact_choice(text, item.choices)
            loose = infer(text, item.choices) if loose is None else loose
        parsed = None if choice is None else letter(choice)
        return verdict(item, float(choice == gold), parsed, float(loose == gold))

    def parse(self, item: Prediction, text: str) -> int | None:
        """Index of the option chosen, by this variant; ``None`` where it is unreadable or out of range."""
        size = len(item.choices) or len(_LETTERS)
        if self.variant == "recorded":
            recorded = item.extra.get("recorded")
            return recorded if isinstance(recorded, int) and 0 <= recorded < size else None
        if self.variant == "letter":
            return leading_letter(text, item.choices or _LETTERS)
        if self.variant == "infer":
            return infer(text, item.choices or ("",) * size)
        read = llava_parse(text)
        index = -1 if read is None else _LETTERS.find(read)
        return index if 0 <= index < size else None

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        details: JSON = {"correct": int(sum(v.score for v in verdicts))}
        for title, wanted in (("image", True), ("text_only", False)):
            subset = [
                v.score for i, v in zip(items, verdicts, strict=True) if bool(i.extra.get("image", i.image)) is wanted
            ]
            if subset:
                details[title] = {"score": points(subset), "n": len(subset), "correct": int(sum(subset))}
        keys = {"by_subject": "subject", "by_context": "context", "by_grade": "grade"}
        return add_breakdowns(details, items, verdicts, keys)

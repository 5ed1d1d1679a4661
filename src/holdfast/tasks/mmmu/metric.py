"""MMMU: college questions of thirty subjects, with options or with an open answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, breakdown, points, verdict
from holdfast.metrics.ruled_choice import gold_and_options, named
from holdfast.metrics.text.choosing import Rule, mmmu, mmmu_lmms_eval, vlmevalkit
from holdfast.metrics.text.normalise import says
from holdfast.metrics.text.options import letter
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.tasks.mmmu.parsing import open_match, open_values
from holdfast.values import JSON

DISCIPLINES: Mapping[str, tuple[str, ...]] = {
    "Art and Design": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health and Medicine": (
        *("Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine"),
        *("Pharmacy", "Public_Health"),
    ),
    "Humanities and Social Science": ("History", "Literature", "Sociology", "Psychology"),
    "Tech and Engineering": (
        *("Agriculture", "Architecture_and_Engineering", "Computer_Science", "Electronics", "Energy_and_Power"),
        *("Materials", "Mechanical_Engineering"),
    ),
}
_DISCIPLINE_OF = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects}
_ID = re.compile(r"(?:dev|validation|test)_(.+)_\d+")


def subject_of_id(text: str) -> str:
    """``Art_Theory`` of ``validation_Art_Theory_7``; empty where the id is no official one."""
    found = _ID.fullmatch(text)
    return found.group(1) if found else ""


def subject_of(item: Prediction) -> str:
    """The subject in an official id (``validation_Art_Theory_7``), or the item's own field; empty if it has none."""
    named = subject_of_id(item.id) or subject_of_id(str(item.extra.get("id") or ""))
    if named:
        return named
    given = str(item.extra.get("subject") or item.extra.get("subdomain") or item.extra.get("category") or "")
    return given.replace(" ", "_")


def is_open(item: Prediction) -> bool:
    """Whether the question has no options to choose from."""
    kind = item.extra.get("question_type")
    return not item.choices if kind is None else str(kind) != "multiple-choice"


class MMMU(ItemMetric):
    """Accuracy in points over all questions, by discipline and by subject.

    Questions with options are read by the variant's rule; open ones are right if a value in the answer equals or holds
    a reference (``parse_open_response`` and ``eval_open``). Variants:

    - ``official``: MMMU's own parser. Where it draws an option at random the answer is wrong here and unparsed;
      ``with_guesses`` in the details is what its figure is on average, each draw worth one over the number of options.
    - ``guesses``: the same parser, and an item whose option it would draw scores that share.
    - ``lmms_eval``: that tool's copy of the parser, without its draws.
    - ``vlmevalkit``: that tool without a judge; an open question offers the gold as A and ``Other Answers`` as B.
    """

    name = "mmmu"
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": mmmu,
        "guesses": mmmu,
        "lmms_eval": mmmu_lmms_eval,
        "vlmevalkit": vlmevalkit,
    }
    variants = tuple(rules)
    graded_variants = ("guesses",)

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if is_open(item):
            return self._open(item, text)
        gold, options = gold_and_options(item)
        choice = self.rules[self.variant](text, options)
        loose = choice if choice is not None or not item.choices else named(text, item.choices)
        score = float(choice == gold)
        if choice is None and self.variant == "guesses":
            score = 1 / len(options)
        return verdict(item, score, None if choice is None else letter(choice), float(loose == gold))

    def _open(self, item: Prediction, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the open question has no reference answer", item=item.id)
        values = open_values(text)
        right = open_match(item.references, values)
        parsed = "; ".join(sorted(str(value).strip() for value in values))
        if self.variant != "vlmevalkit":
            return verdict(item, float(right), parsed, float(any(says(text, gold) for gold in item.references)))
        gold = item.references[0] if len(item.references) == 1 else str(list(item.references))
        # A gold that is itself a capital letter stays the answer there, and no option of the two has it.
        chosen = vlmevalkit(text, (gold, "Other Answers"))
        fits = chosen == 0 and not (len(gold) == 1 and gold.isascii() and gold.isupper())
        return verdict(item, float(fits), None if chosen is None else parsed, float(right))

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        details: JSON = {}
        by_subject = breakdown(items, verdicts, subject_of)
        if by_subject:
            details["by_discipline"] = breakdown(items, verdicts, lambda item: _DISCIPLINE_OF.get(subject_of(item)))
            details["by_subject"] = by_subject
        details["by_question_type"] = breakdown(items, verdicts, lambda item: "open" if is_open(item) else "choice")
        if self.variant in ("official", "guesses"):
            drawn = [
                1 / len(gold_and_options(item)[1]) if each.parsed is None and not is_open(item) else each.score
                for item, each in zip(items, verdicts, strict=True)
            ]
            details["with_guesses"] = points(drawn)
        return details

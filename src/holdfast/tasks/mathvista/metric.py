"""MathVista: mathematics in figures, with options or with a number as the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, add_breakdowns, breakdown, verdict
from holdfast.metrics.ruled_choice import named
from holdfast.metrics.text.choosing import vlmevalkit
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.tasks.mathvista.parsing import quick_extraction, value_of
from holdfast.values import JSON

TABLES = (*("question_type", "answer_type", "language", "source", "category"), *("task", "context", "grade", "skills"))
"""The fields by which the official script breaks its score down, in its order."""

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")


class MathVista(ItemMetric):
    """Accuracy in points, by the nine fields of the official script.

    The extraction stands in ``extra['extraction']`` (or ``extra['res']``, VLMEvalKit's name), where a judge made one;
    it is never asked for. Without one the official quick rules read the response, and a response in which they find
    nothing is wrong and unparsed (the official script would choose the option nearest to an empty text). Lenient: the
    option that the response names, or its last number.

    Variants: ``official`` (53d5258); ``paper``, the rule behind the published scores: an extraction such as ``5.0`` is
    no whole number; ``vlmevalkit`` (numbers compared as numbers, options found as in that tool).
    """

    name = "mathvista"
    variants = ("official", "paper", "vlmevalkit")

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the problem has no answer, as the test split has none", item=item.id)
        gold, place = item.references[0], item.extra.get("answer_index")
        if isinstance(place, int) and place < len(item.choices):
            gold = item.choices[place]  # as it stands there, with the spaces that some choices end in
        extraction = recorded_extraction(item)
        parsed = self._kit_value(item, text, extraction) if self.variant == "vlmevalkit" else None
        if self.variant != "vlmevalkit":
            if extraction is None:
                extraction = quick_extraction(text, item.choices, kind(item))
            parsed = None if extraction is None else self._value(item, extraction)
        same = parsed == gold or (self.variant == "vlmevalkit" and parsed is not None and _equal(item, parsed, gold))
        return verdict(item, float(same), parsed, float(_loosely(item, text) == gold))

    def _value(self, item: Prediction, extraction: str) -> str | None:
        return value_of(
            extraction,
            item.choices,
            kind(item),
            item.extra.get("precision"),
            decimals_are_integers=self.variant == "official",
        )

    def _kit_value(self, item: Prediction, text: str, extraction: str | None) -> str | None:
        said = text if extraction is None else extraction
        if item.choices:
            chosen = vlmevalkit(said, item.choices)
            return None if chosen is None else item.choices[chosen]
        try:
            number = {"integer": int, "float": float}[kind(item)](said)
        except (KeyError, ValueError):
            # Lists are compared with the text None there, so that none is ever right.
            return None
        return str(number)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        extracted = sum(recorded_extraction(item) is not None for item in items)
        details: JSON = {"extractions_read_in": extracted}
        add_breakdowns(details, items, verdicts, {f"by_{name}": name for name in TABLES if name != "skills"})
        skills = breakdown(items, verdicts, skills_of)
        return details | ({"by_skills": skills} if skills else {})


def kind(item: Prediction) -> str:
    """The item's ``answer_type``; text where it has none."""
    return str(item.extra.get("answer_type") or "text")


def skills_of(item: Prediction) -> tuple[str, ...]:
    """What the problem asks for: a list, or one that a table holds as text."""
    given = item.extra.get("skills") or ()
    if isinstance(given, str):
        return tuple(re.findall(r"[^\[\],'\"]*[^\[\],'\"\s]", given.replace(", ", ",")))
    return tuple(map(str, given)) if isinstance(given, list | tuple) else ()


def recorded_extraction(item: Prediction) -> str | None:
    """The extraction that stands in the item's file, as text; ``None`` where it has none."""
    given = item.extra.get("extraction", item.extra.get("res"))
    return None if given is None or isinstance(given, bool) else str(given)


def _equal(item: Prediction, parsed: str, gold: str) -> bool:
    try:
        return not item.choices and float(parsed) == float(gold)
    except ValueError:
        return False


def _loosely(item: Prediction, text: str) -> str | None:
    if item.choices:
        chosen = named(text, item.choices)
        return None if chosen is None else item.choices[chosen]
    numbers = _NUMBER.findall(text)
    last = numbers[-1].replace(",", "") if numbers else text
    return value_of(last, (), kind(item), item.extra.get("precision"))

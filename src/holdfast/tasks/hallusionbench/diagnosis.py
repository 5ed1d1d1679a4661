"""Why answers are wrong, as HallusionBench tells it: the language made it up, the eye missed it, or both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from holdfast.predictions.record import Prediction
from holdfast.values import JSON

LANGUAGE, VISION, MIXED = "LH", "VI", "Mixed"


def diagnosis(places: Sequence[Mapping[str, str]], items: Sequence[Prediction]) -> JSON:
    """Shares of the causes among all failures in points (``get_eval_pair_all`` of tianyi-lab/HallusionBench, 744007c).

    Needs the judge's verdicts in ``extra['check']`` and, in ``extra['same']``, whether an answer says the same as the
    one on the original figure; empty where ``same`` is missing or a question has no original.
    """
    checks = [str(item.extra.get("check")) for item in items]
    original = {_question(one): check for one, check in zip(places, checks, strict=True) if one["figure_id"] == "0"}
    if any(item.extra.get("same") is None for item in items) or not original.keys() >= set(map(_question, places)):
        return {}
    causes = Counter(
        _cause(one, check, original[_question(one)], item)
        for one, check, item in zip(places, checks, items, strict=True)
    )
    failures = causes.total() - causes[""]
    names = (LANGUAGE, VISION, MIXED)
    return {"failures": {name: 100 * causes[name] / failures for name in names} | {"n": failures}} if failures else {}


def _question(one: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(one[name] for name in ("category", "subcategory", "set_id", "question_id"))


def _cause(one: Mapping[str, str], check: str, original: str, item: Prediction) -> str:
    """The cause of one failure; empty where there is none."""
    same, edited = str(item.extra["same"]) == "1", str(item.extra.get("visual_input")) == "2"
    if check == "1":
        return ""
    if one["category"] == "VD":
        copied = one["figure_id"] != "0" and original == "1" and check == "0" and same
        return MIXED if copied else VISION
    if one["figure_id"] == "0":
        return LANGUAGE if check == "0" else ""
    if original == "0":
        return LANGUAGE if check == "0" and same else MIXED
    return LANGUAGE if original == "1" and check == "0" and edited and same else VISION

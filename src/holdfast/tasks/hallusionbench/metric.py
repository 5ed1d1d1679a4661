"""HallusionBench: yes/no questions on figures and their edited copies, right one by one, by figure and by pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, points, verdict
from holdfast.metrics.text.vqa import drop_punctuation
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.tasks.hallusionbench.diagnosis import diagnosis
from holdfast.values import JSON

WRONG, RIGHT, UNCLEAR = 0, 1, 2
PLACE = ("category", "subcategory", "set_id", "figure_id", "question_id")


def place(item: Prediction) -> Mapping[str, str]:
    """Where an item stands: category, subcategory, set, figure and question, as its fields or its id say.

    An id is the five with ``_`` between; VLMEvalKit's index has six parts, the last three set, figure and question.

    Raises:
        HoldfastError: Neither does.
    """
    extra = item.extra
    found = {name: extra.get(name) for name in PLACE}
    found["subcategory"] = found["subcategory"] or extra.get("l2_category") or extra.get("l2-category")
    parts = item.id.split("_")
    if len(parts) >= 5:
        numbers = parts[3:6] if len(parts) > 5 else parts[2:]
        told = dict(zip(("set_id", "figure_id", "question_id"), numbers, strict=True))
        found |= {name: value for name, value in told.items() if found[name] is None}
    absent = [name for name in PLACE if found[name] is None]
    if absent:
        raise HoldfastError(f"the question has no {absent[0]}", item=item.id)
    return {name: str(value) for name, value in found.items()}


def yes_or_no(text: str) -> str | None:
    """``YOrN_Extraction`` of VLMEvalKit e8e78f0: the one of the words yes and no that the answer holds."""
    words = drop_punctuation(text.lower()).split()
    said = [word for word in ("yes", "no") if word in words]
    return said[0] if len(said) == 1 else None


class HallusionBench(ItemMetric):
    """aAcc, accuracy over questions, in points; qAcc, fAcc and what else the official script prints in the details.

    - qAcc: a question counts if it is right on every figure of its set (and without one); fAcc: a figure counts if
      every question about it is right; ``mean`` is of the three, which leaderboards rank by.
    - ``easy`` and ``hard``: qAcc over questions without and with an edited figure.

    Variants: ``official`` takes the judge's verdict from ``extra['check']`` (0 wrong, 1 right, 2 unclear; unclear is
    right where a question that needs no figure has none) and, where no judge was asked, the words yes and no;
    ``vlmevalkit`` looks at the words only, counts questions without a figure as one figure, and does not tell VD from
    VS in a group. An answer with both words or neither is wrong and unparsed.
    """

    name = "hallusionbench"
    variants = ("official", "vlmevalkit")

    def judge(self, item: Prediction, text: str) -> ItemScore:
        check = self._check(item)
        if check is not None:
            right = check == RIGHT or (check == UNCLEAR and _without_figure(place(item)))
            return verdict(item, float(right), ("wrong", "right", "unclear")[check])
        if not item.references:
            raise HoldfastError("the question has no answer", item=item.id)
        given = str(item.extra.get("gt_answer", item.references[0])).strip()  # lmms-eval's target is a sentence
        gold = {"1": "yes", "0": "no"}.get(given, given.lower())
        said = yes_or_no(text)
        first = next((word for word in drop_punctuation(text.lower()).split() if word in ("yes", "no")), None)
        return verdict(item, float(said == gold), said, float(first == gold))

    def _check(self, item: Prediction) -> int | None:
        given = item.extra.get("check")
        if given is None or self.variant == "vlmevalkit":
            return None
        if str(given) not in ("0", "1", "2"):
            raise HoldfastError(f"the judge's verdict is {given!r}, not 0, 1 or 2", item=item.id)
        return int(given)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        places = [place(item) for item in items]
        scores = [each.score for each in verdicts]
        details = self._three(places, scores)
        details["mean"] = sum(details.values()) / 3
        details["figures"] = _consistency(self._figures(places, scores).values())
        judged = sum(self._check(item) is not None for item in items)
        details["judged"] = judged
        for title, name in (("by_category", "category"), ("by_subcategory", "subcategory")):
            kinds = sorted({one[name] for one in places})
            details[title] = {kind: self._three(*_only(places, scores, name, kind)) for kind in kinds}
        edited = [str(item.extra.get("visual_input")) == "2" for item in items]
        if any(item.extra.get("visual_input") is not None for item in items):
            for title, wanted in (("easy", False), ("hard", True)):
                chosen = [n for n, one in enumerate(edited) if one is wanted]
                if chosen:
                    details[title] = _all_right(self._pairs([places[n] for n in chosen], [scores[n] for n in chosen]))
        if judged == len(items):
            details |= diagnosis(places, items)
        return details

    def _three(self, places: Sequence[Mapping[str, str]], scores: Sequence[float]) -> JSON:
        figures = self._figures(places, scores)
        return {
            "aAcc": points(scores),
            "qAcc": _all_right(self._pairs(places, scores)),
            "fAcc": _all_right(figures) if figures else 0.0,
        }

    def _pairs(self, places: Sequence[Mapping[str, str]], scores: Sequence[float]) -> dict[str, list[float]]:
        return self._groups(places, scores, "question_id")

    def _figures(self, places: Sequence[Mapping[str, str]], scores: Sequence[float]) -> dict[str, list[float]]:
        if self.variant == "official":
            kept = [(one, score) for one, score in zip(places, scores, strict=True) if not _without_figure(one)]
            places, scores = [one for one, _ in kept], [score for _, score in kept]
        return self._groups(places, scores, "figure_id")

    def _groups(
        self, places: Sequence[Mapping[str, str]], scores: Sequence[float], last: str
    ) -> dict[str, list[float]]:
        names = (*(("category",) if self.variant == "official" else ()), "subcategory", "set_id", last)
        groups: dict[str, list[float]] = {}
        for one, score in zip(places, scores, strict=True):
            groups.setdefault("_".join(one[name] for name in names), []).append(score)
        return groups


def _without_figure(one: Mapping[str, str]) -> bool:
    return one["category"] == "VS" and one["figure_id"] == "0"


def _only(
    places: Sequence[Mapping[str, str]], scores: Sequence[float], name: str, value: str
) -> tuple[list[Mapping[str, str]], list[float]]:
    chosen = [n for n, one in enumerate(places) if one[name] == value]
    return [places[n] for n in chosen], [scores[n] for n in chosen]


def _all_right(groups: Mapping[str, Sequence[float]]) -> float:
    """Share of groups without a mistake, in points."""
    return points(float(all(group)) for group in groups.values())


def _consistency(figures: Iterable[Sequence[float]]) -> dict[str, float]:
    groups = list(figures)
    right, wrong = sum(all(group) for group in groups), sum(not any(group) for group in groups)
    total = len(groups) or 1
    return {
        "n": len(groups),
        "right": 100 * right / total,
        "inconsistent": 100 * (len(groups) - right - wrong) / total,
        "wrong": 100 * wrong / total,
        "score": sum(sum(group) / len(group) for group in groups) / total,
    }

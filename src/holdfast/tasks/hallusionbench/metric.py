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
Rows = Sequence[tuple[Mapping[str, str], float]]
"""Where each question stands, and its score."""
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
        rows = [(place(item), each.score) for item, each in zip(items, verdicts, strict=True)]
        details = self._three(rows)
        details["mean"] = sum(details.values()) / 3
        details["figures"] = _consistency(self._figures(rows).values())
        judged = sum(self._check(item) is not None for item in items)
        details["judged"] = judged
        for title, name in (("by_category", "category"), ("by_subcategory", "subcategory")):
            kinds = sorted({one[name] for one, _ in rows})
            details[title] = {kind: self._three([row for row in rows if row[0][name] == kind]) for kind in kinds}
        figures = [item.extra.get("visual_input") for item in items]
        if any(figure is not None for figure in figures):
            for title, edited in (("easy", False), ("hard", True)):
                chosen = [row for row, figure in zip(rows, figures, strict=True) if (str(figure) == "2") is edited]
                if chosen:
                    details[title] = _all_right(self._groups(chosen, "question_id"))
        if judged == len(items):
            details |= diagnosis([one for one, _ in rows], items)
        return details

    def _three(self, rows: Rows) -> JSON:
        figures = self._figures(rows)
        return {
            "aAcc": points(score for _, score in rows),
            "qAcc": _all_right(self._groups(rows, "question_id")),
            "fAcc": _all_right(figures) if figures else 0.0,
        }

    def _figures(self, rows: Rows) -> dict[str, list[float]]:
        kept = [row for row in rows if self.variant != "official" or not _without_figure(row[0])]
        return self._groups(kept, "figure_id")

    def _groups(self, rows: Rows, last: str) -> dict[str, list[float]]:
        names = (*(("category",) if self.variant == "official" else ()), "subcategory", "set_id", last)
        groups: dict[str, list[float]] = {}
        for one, score in rows:
            groups.setdefault("_".join(one[name] for name in names), []).append(score)
        return groups


def _without_figure(one: Mapping[str, str]) -> bool:
    return one["category"] == "VS" and one["figure_id"] == "0"


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

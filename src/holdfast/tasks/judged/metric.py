"""Hallucination measures that a judge or another tool has made: read in, never asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, breakdown
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

HIGHEST = 6
HALLUCINATES_BELOW = 3
_RATING = re.compile(r"rating:\s*([0-6])(?!\d)", re.IGNORECASE)


def rating_of(text: str) -> int | None:
    """The one rating 0 to 6 that the judge's text states; ``None`` where there is none or they differ."""
    found = {int(value) for value in _RATING.findall(text)}
    return found.pop() if len(found) == 1 else None


class MMHal(ItemMetric):
    """MMHAL-Bench: mean judge rating on its scale of 0 to 6; ``details`` gives the hallucination rate (rating below 3).

    Reads ``extra['rating']`` (a number) or ``extra['judgement']`` (the judge's text); an unreadable judgement counts as
    0, as in the official script, and as unparsed. An item scores rating / 6. The judge's name stands in the details,
    because ratings of different judges do not compare.
    """

    name = "mmhal"
    variants = ("judged",)
    graded = True

    def judge(self, item: Prediction, text: str) -> ItemScore:
        rating = item.extra.get("rating")
        if rating is None:
            rating = rating_of(str(item.extra.get("judgement", "")))
        elif isinstance(rating, bool) or not isinstance(rating, int | float) or not 0 <= rating <= HIGHEST:
            raise HoldfastError(f"the rating is {rating!r}, not a number from 0 to {HIGHEST}", item=item.id)
        if rating is None:
            return ItemScore(item.id, 0.0, None, "unparsed")
        return ItemScore(item.id, rating / HIGHEST, f"{rating:g}", "truncated" if item.truncated else "ok")

    def total(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> float:
        return super().total(items, verdicts) * HIGHEST / 100

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        below = sum(v.score * HIGHEST < HALLUCINATES_BELOW for v in verdicts)
        judges = sorted({str(item.extra.get("judge", "not stated")) for item in items})
        table = {
            kind: {"score": row["score"] * HIGHEST / 100, "n": row["n"]}
            for kind, row in breakdown(items, verdicts, "question_type").items()
        }
        details: JSON = {"hallucination_rate": 100 * below / len(verdicts), "judge": ", ".join(judges)}
        return details | ({"by_question_type": table} if table else {})


class CHAIR(ItemMetric):
    """Share of captions without a hallucinated object, in points: 100 minus CHAIRs, so that higher is better.

    CHAIRs and CHAIRi (points, lower is better) and, where gold objects are given, recall stand in the details. Reads
    ``extra['hallucinated']`` and ``extra['mentioned']``, the objects that another tool found (Rohrbach et al. 2018).
    """

    name = "chair"
    variants = ("judged",)
    hallucinations = True

    def judge(self, item: Prediction, text: str) -> ItemScore:
        objects = item.extra.get("hallucinated")
        if not isinstance(objects, list | tuple):
            raise HoldfastError("the caption has no list of hallucinated objects", item=item.id)
        status = "truncated" if item.truncated else "ok"
        names = ", ".join(str(o[-1] if isinstance(o, list | tuple) and o else o) for o in objects)
        return ItemScore(item.id, float(not objects), names, status)  # type: ignore[arg-type]

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        wrong = sum(len(item.extra.get("hallucinated", ())) for item in items)
        mentioned = sum(len(item.extra.get("mentioned", ())) for item in items)
        details: JSON = {"CHAIRs": 100 - super().total(items, verdicts)}
        if mentioned:
            details["CHAIRi"] = 100 * wrong / mentioned
        return details | {"hallucinated_objects": wrong, "mentioned_objects": mentioned}

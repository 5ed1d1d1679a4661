"""MM-Vet: open questions that need several capabilities at once; a judge's grades from 0 to 1 are read in."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, sqrt

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, breakdown, verdict
from holdfast.metrics.text.normalise import says
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")


class MMVet(ItemMetric):
    """Mean grade in points, by capability and by combination of capabilities. A judge is never called.

    Variant ``judged`` reads ``extra['grades']``: a grade, or the list of grades of several runs, whose mean is the
    item's score; and ``extra['capability']`` (or ``capabilities``, or VLMEvalKit's ``category``), a list or words with
    commas between. The judge's name and, with several runs, each run's total and their standard deviation stand in the
    details, because grades of different judges do not compare. (VLMEvalKit e8e78f0 counts a question that needs one
    capability alone twice in it; the total is the same.)

    Variant ``mentions`` is no score of MM-Vet: it tells, for want of a judge, whether an answer names everything that
    the reference joins by ``<AND>`` in one of the ways that it parts by ``<OR>``.
    """

    name = "mmvet"
    variants = ("judged", "mentions")
    graded_variants = ("judged",)

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if self.variant == "mentions":
            return verdict(item, float(any(mentions(text, reference) for reference in item.references)), text)
        grades = grades_of(item)
        mean = fsum(grades) / len(grades)
        return ItemScore(item.id, mean, f"{mean:g}", "truncated" if item.truncated else "ok")

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        tables = {
            "by_capability": breakdown(items, verdicts, capabilities),
            "by_integration": breakdown(items, verdicts, lambda item: "_".join(capabilities(item))),
        }
        if self.variant == "mentions":
            return tables
        details: JSON = {"judge": ", ".join(sorted({name for item in items for name in judges(item)}))}
        runs = {len(grades_of(item)) for item in items}
        if len(runs) > 1:
            raise HoldfastError(
                f"the items were graded {' and '.join(map(str, sorted(runs)))} times, not equally often"
            )
        if runs != {1}:
            totals = [100 * fsum(run) / len(items) for run in zip(*(grades_of(item) for item in items), strict=True)]
            mean = fsum(totals) / len(totals)
            details["runs"] = totals
            details["std"] = sqrt(fsum((total - mean) ** 2 for total in totals) / len(totals))
        return details | tables


def mentions(text: str, reference: str) -> bool:
    """Whether an answer names a reference such as ``-1<AND>-5`` or ``13.6 <OR> 13.7``, each part as whole words."""
    return any(all(says(text, part) for part in way.split("<AND>")) for way in reference.split("<OR>"))


def grades_of(item: Prediction) -> tuple[float, ...]:
    """The grades of an item, one a run.

    Raises:
        HoldfastError: There is none, or one is no number from 0 to 1.
    """
    given = item.extra.get("grades", item.extra.get("score"))
    grades = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not grades or None in grades:
        raise HoldfastError(
            "the answer has no grade",
            item=item.id,
            remedy="give the file that the judge wrote; no judge is called here",
        )
    made = []
    for grade in grades:
        try:
            value = float(grade) if not isinstance(grade, bool) else -1.0
        except (TypeError, ValueError):
            value = -1.0
        if not 0 <= value <= 1:
            raise HoldfastError(f"the grade is {grade!r}, not a number from 0 to 1", item=item.id)
        made.append(value)
    return tuple(made)


def capabilities(item: Prediction) -> tuple[str, ...]:
    """What the item needs, in the order of :data:`CAPABILITIES`."""
    given = item.extra.get("capability") or item.extra.get("capabilities") or item.extra.get("category") or ()
    given = given.replace(" ", "").split(",") if isinstance(given, str) else given
    names = set(map(str, given)) if isinstance(given, list | tuple) else set()
    return (*(name for name in CAPABILITIES if name in names), *sorted(names - {*CAPABILITIES, ""}))


def judges(item: Prediction) -> tuple[str, ...]:
    """The names of the models that graded the item."""
    given = item.extra.get("model") or item.extra.get("eval_model") or item.extra.get("judge") or "not stated"
    return tuple(map(str, given)) if isinstance(given, list | tuple) else (str(given),)

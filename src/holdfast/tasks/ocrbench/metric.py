"""OCRBench: a thousand questions in ten kinds, right if a reference stands in the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, add_breakdowns, verdict
from holdfast.metrics.text.normalise import says
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

FORMULAS = "Handwritten Mathematical Expression Recognition"
FORMULA_SET = "HME100k"
RECOGNITION = (
    *("Regular Text Recognition", "Irregular Text Recognition", "Artistic Text Recognition"),
    *("Handwriting Recognition", "Digit String Recognition", "Non-Semantic Text Recognition"),
)
KINDS: Mapping[str, tuple[str, ...]] = {
    "Text Recognition": RECOGNITION,
    "Scene Text-centric VQA": ("Scene Text-centric VQA",),
    "Doc-oriented VQA": ("Doc-oriented VQA",),
    "Key Information Extraction": ("Key Information Extraction",),
    FORMULAS: (FORMULAS,),
}
"""The five kinds of the printed score and the question types in them."""

FULL = 1000
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: ord(" ")}


class OCRBench(ItemMetric):
    """The score on OCRBench's scale of 1,000: right answers of a thousand; of a part of the set their share times that.

    An answer is right if it holds a reference, case, outer spaces and line breaks aside; of handwritten formulas only
    the spaces are taken out, and case counts. Details: right answers by the five kinds and ten types, as printed.

    Variants: ``official`` (formulas by their data set, HME100k), ``vlmevalkit`` (by the question type; the same on the
    whole benchmark) and ``lmms_eval`` (full-width letters and digits count as plain ones, formulas aside).
    """

    name = "ocrbench"
    variants = ("official", "vlmevalkit", "lmms_eval")

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the question has no reference answer", item=item.id)
        formula = self._is_formula(item)
        said = self._plain(text, formula)
        right = any(self._plain(reference, formula) in said for reference in item.references)
        return verdict(item, float(right), said, float(any(says(text, reference) for reference in item.references)))

    def _is_formula(self, item: Prediction) -> bool:
        data_set = item.extra.get("dataset_name") or item.extra.get("dataset")
        if data_set is None or self.variant == "vlmevalkit":
            return question_type(item) == FORMULAS
        return bool(data_set == FORMULA_SET)

    def _plain(self, text: str, formula: bool) -> str:
        if formula:
            return text.strip().replace("\n", " ").replace(" ", "")
        if self.variant == "lmms_eval":
            text = text.translate(_NARROW)
        return text.lower().strip().replace("\n", " ")

    def total(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> float:
        return super().total(items, verdicts) * FULL / 100

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        right: Counter[str] = Counter()
        asked: Counter[str] = Counter()
        for item, each in zip(items, verdicts, strict=True):
            right[question_type(item)] += int(each.score)
            asked[question_type(item)] += 1
        kinds = {
            kind: {"score": sum(right[name] for name in names), "n": sum(asked[name] for name in names)}
            for kind, names in KINDS.items()
            if any(asked[name] for name in names)
        }
        types = {name: {"score": right[name], "n": asked[name]} for name in sorted(asked) if name}
        details: JSON = {"right": right.total()}
        details |= {title: table for title, table in (("by_kind", kinds), ("by_type", types)) if table}
        return add_breakdowns(details, items, verdicts, {"by_dataset": "dataset_name"})


def question_type(item: Prediction) -> str:
    """The type of the question under any of the names that the tools give it."""
    given = item.extra.get("type") or item.extra.get("question_type") or item.extra.get("category")
    return str(given or "")

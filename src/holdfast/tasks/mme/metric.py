"""MME: fourteen subtasks, two yes/no questions an image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import fsum

from holdfast.errors import HoldfastError, nearest
from holdfast.metrics.base import ItemMetric, points, verdict
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.tasks.pope.metric import label_of, lenient_parse
from holdfast.values import JSON

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
SUBTASKS = PERCEPTION + COGNITION


def parse(text: str) -> str | None:
    """Official rule: ``yes``, else ``no``, within the first four characters in lower case; else ``None``."""
    start = text.lower()[:4]
    return "yes" if "yes" in start else "no" if "no" in start else None


class MME(ItemMetric):
    """Sum over subtasks of 100 (acc + acc+), as the official tool prints it; not a rate.

    acc is the share of questions answered right, acc+ the share of images with both questions right; a subtask is worth
    200, perception (ten subtasks) 2000 and cognition (four) 800. An answer that is neither yes nor no is wrong and
    counted as unparsed. An item scores 0 or 1. ``extra['subtask']`` (or ``category``, as in
    VLMEvalKit's tables) names the subtask and ``extra['pair']`` (or the image) what ties two questions together.

    Variants say what the headline sums: ``total``, ``perception`` (what LLaVA and most papers quote), ``cognition``.
    Lenient: the first word anywhere that affirms or denies.
    """

    name = "mme"
    variants = ("total", "perception", "cognition")

    def judge(self, item: Prediction, text: str) -> ItemScore:
        label, said = label_of(item), parse(text)
        return verdict(item, float(said == label), said, float(lenient_parse(text) == label))

    def total(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> float:
        tables = subtask_tables(items, verdicts)
        names = {"total": SUBTASKS, "perception": PERCEPTION, "cognition": COGNITION}[self.variant]
        return fsum(tables[name]["score"] for name in names if name in tables)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        tables = subtask_tables(items, verdicts)
        details: JSON = {}
        for title, names in (("perception", PERCEPTION), ("cognition", COGNITION)):
            present = [tables[name]["score"] for name in names if name in tables]
            if present:
                details[title] = fsum(present)
        details["accuracy"] = points(v.score for v in verdicts)
        details["subtasks"] = tables
        absent = [name for name in SUBTASKS if name not in tables]
        return details | ({"subtasks_absent": absent} if absent else {})


def subtask_tables(items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> dict[str, dict[str, float]]:
    """Score, acc and acc+ (points), and counts, of each subtask present, in the official order.

    Raises:
        HoldfastError: On an unknown subtask, or an image that has not exactly two questions.
    """
    pairs: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    other: dict[str, int] = defaultdict(int)
    for item, each in zip(items, verdicts, strict=True):
        subtask = str(item.extra.get("subtask") or item.extra.get("category") or "")
        if subtask not in SUBTASKS:
            raise HoldfastError(f"'{subtask}' is no MME subtask", item=item.id, remedy=nearest(subtask, SUBTASKS))
        pairs[subtask][str(item.extra.get("pair") or item.image)].append(each.score)
        other[subtask] += each.parsed is None
    tables: dict[str, dict[str, float]] = {}
    for name in SUBTASKS:
        images = pairs.get(name, {})
        if not images:
            continue
        for image, scores in images.items():
            if len(scores) != 2:
                raise HoldfastError(f"{name} has {len(scores)} question(s) on {image}, not two")
        acc = points(score for scores in images.values() for score in scores)
        plus = points(float(all(scores)) for scores in images.values())
        n = 2 * len(images)
        tables[name] = {"score": acc + plus, "acc": acc, "acc_plus": plus, "n": n, "other": other[name]}
    return tables

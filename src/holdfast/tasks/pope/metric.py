"""POPE: is the object in the image, yes or no?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from math import fsum
from typing import Literal

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, check_items, verdict
from holdfast.metrics.text.normalise import words
from holdfast.predictions.record import ItemScore, Prediction, Score
from holdfast.values import JSON

Answer = Literal["yes", "no"]
_NEGATIVE = re.compile(r"n['’]t$")


def official_parse(text: str) -> Answer:
    """RUCAIBox/POPE's rule, under which ``NO``, ``isn't`` and ``No\\n`` are a yes.

    The text up to the first full stop, commas deleted, is split on single spaces; ``No``, ``no`` or ``not`` among the
    pieces means no, and everything else means yes.
    """
    tokens = text.split(".")[0].replace(",", "").split(" ")
    return "no" if any(word in tokens for word in ("No", "no", "not")) else "yes"


def strict_parse(text: str) -> Answer | None:
    """The first word is yes or no; anything else cannot be read."""
    first = next(iter(words(text)), "")
    return "yes" if first == "yes" else "no" if first == "no" else None


def lenient_parse(text: str) -> Answer | None:
    """The first word anywhere that affirms or denies."""
    for word in words(text):
        if word == "yes":
            return "yes"
        if word in ("no", "not", "none") or _NEGATIVE.search(word):
            return "no"
    return None


def confusion(pairs: Sequence[tuple[Answer, Answer]]) -> dict[str, float]:
    """Counts and rates (0 to 1) from (label, prediction) pairs; yes is the positive class. A rate over nothing is 0."""
    tp = sum(pair == ("yes", "yes") for pair in pairs)
    fp = sum(pair == ("no", "yes") for pair in pairs)
    tn = sum(pair == ("no", "no") for pair in pairs)
    fn = sum(pair == ("yes", "no") for pair in pairs)
    n = len(pairs)
    precision = tp / (tp + fp) if tp + fp else 0.0
    recall = tp / (tp + fn) if tp + fn else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    rates = {"accuracy": (tp + tn) / n, "precision": precision, "recall": recall, "f1": f1}
    shares = {"yes_ratio": (tp + fp) / n, "label_yes_ratio": (tp + fn) / n}
    return {"n": n, "TP": tp, "FP": fp, "TN": tn, "FN": fn, **rates, **shares}


class POPE(ItemMetric):
    """Mean F1 over the splits present, in points; accuracy, precision, recall, F1 and yes-ratio stand in the details.

    The split is ``extra['category']`` (random, popular, adversarial), the label the first reference, and the yes-ratio
    that of the *predictions*. An item whose category names several splits, as in VLMEvalKit's table, counts in each.
    Rates in the details are 0 to 1, as the official script prints them.

    Variants: ``official`` (:func:`official_parse`; an answer with neither yes nor no counts as yes and is also counted
    as unparsed) and ``strict`` (:func:`strict_parse`; what cannot be read is wrong). In both a blank answer is wrong:
    the official rule would call it a yes and so credit silence. Lenient: the first word that affirms or denies.
    """

    name = "pope"
    variants = ("official", "strict")

    def score(self, items: Sequence[Prediction], *, task: str = "") -> Score:
        check_items(items, task or self.name)
        counted = [(item, split) for item in items for split in splits_of(item)]
        result = super().score([_in_split(item, split) for item, split in counted], task=task)
        covers = {_in_split(item, split).id: item.id for item, split in counted if len(splits_of(item)) > 1}
        verdicts = (replace(v, covers=(covers[v.id],)) if v.id in covers else v for v in result.items)
        return replace(result, items=tuple(verdicts)) if covers else result

    def judge(self, item: Prediction, text: str) -> ItemScore:
        label = label_of(item)
        said = official_parse(text) if self.variant == "official" else strict_parse(text)
        loose = lenient_parse(text)
        understood = said if loose is not None else None
        score = verdict(item, float(said == label), understood, float(loose == label))
        return ItemScore(item.id, score.score, said, score.status, score.lenient)

    def pairs(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> list[tuple[str, Answer, Answer]]:
        """(split, label, prediction) an item; what could not be read counts as the wrong answer."""
        rows = []
        for item, each in zip(items, verdicts, strict=True):
            label = label_of(item)
            wrong: Answer = "no" if label == "yes" else "yes"
            rows.append((splits_of(item)[0], label, label if each.score else wrong))
        return rows

    def tables(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> dict[str, dict[str, float]]:
        """The confusion table of each split."""
        rows = self.pairs(items, verdicts)
        names = sorted({split for split, _, _ in rows})
        return {name: confusion([(a, b) for split, a, b in rows if split == name]) for name in names}

    def total(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> float:
        f1 = [table["f1"] for table in self.tables(items, verdicts).values()]
        return 100.0 * fsum(f1) / len(f1)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        tables = self.tables(items, verdicts)
        pooled = confusion([(a, b) for _, a, b in self.pairs(items, verdicts)])
        mean = fsum(table["f1"] for table in tables.values()) / len(tables)
        return {**tables, "mean_f1": mean, "pooled": pooled, "yes_ratio": pooled["yes_ratio"]}


def label_of(item: Prediction) -> Answer:
    """The item's reference.

    Raises:
        HoldfastError: It is neither yes nor no.
    """
    label = item.references[0].strip().lower() if item.references else ""
    if label == "yes":
        return "yes"
    if label == "no":
        return "no"
    raise HoldfastError(f"the label is {label!r}, not yes or no", item=item.id)


def splits_of(item: Prediction) -> tuple[str, ...]:
    """The splits that an item's category names, joined by commas or in a list; ``all`` where it names none."""
    category = item.extra.get("category")
    names = category.split(",") if isinstance(category, str) else category if isinstance(category, list) else ()
    return tuple(dict.fromkeys(str(name).strip() for name in names if str(name).strip())) or ("all",)


def _in_split(item: Prediction, split: str) -> Prediction:
    """The item as one of that split; it keeps its id where it is in no other."""
    if len(splits_of(item)) == 1:
        return item
    return replace(item, id=f"{split}/{item.id}", extra={**item.extra, "category": split})

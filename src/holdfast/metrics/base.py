"""What every metric shares: the protocol, the counting, and the rule that an empty answer is never correct."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import fsum
from typing import ClassVar, Protocol

from holdfast.errors import HoldfastError, nearest
from holdfast.predictions.record import ItemScore, Prediction, Score
from holdfast.values import JSON


class Metric(Protocol):
    """A metric under one named variant.

    ``name`` and ``variant`` are written beside every score and ``variants`` are all that there are, the default first;
    ``graded`` is false where every item scores 0 or 1; ``top`` is the best an item can score.
    """

    @property
    def name(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def variants(self) -> tuple[str, ...]: ...
    @property
    def graded(self) -> bool: ...
    @property
    def top(self) -> float: ...
    def unit(self, item: Prediction) -> str:
        """What is judged as one: items with the same unit have one score together."""

    def score(self, items: Sequence[Prediction], *, task: str = "") -> Score:
        """Judge every item and total them; the order of ``items`` never matters.

        Raises:
            HoldfastError: On no items at all, an id that comes twice, or an item the metric cannot judge.
        """


class UnjudgeableError(HoldfastError):
    """An item whose reference contradicts the item itself, such as a right option that it does not have."""


class ItemMetric(ABC):
    """Base of the metrics here: subclasses judge one item and may replace how items add up.

    Class attributes name the metric; the first variant is the default.
    """

    name: ClassVar[str]
    variants: ClassVar[tuple[str, ...]] = ("default",)
    graded: bool = False
    graded_variants: ClassVar[tuple[str, ...]] = ()
    """Variants that are graded where the others are not."""
    top: float = 1.0
    hallucinations: ClassVar[bool] = False
    """Whether the details count captions (``CHAIRs``) and names (``CHAIRi``) of what is not there."""

    def __init__(self, variant: str | None = None) -> None:
        self.variant = variant or self.variants[0]
        if self.variant not in self.variants:
            raise HoldfastError(
                f"the metric {self.name} has no variant '{self.variant}'",
                remedy=nearest(self.variant, self.variants),
            )
        self.graded = self.graded or self.variant in self.graded_variants

    @abstractmethod
    def judge(self, item: Prediction, text: str) -> ItemScore:
        """Judge one item whose prediction ``text`` is not blank."""

    def blank(self, item: Prediction) -> ItemScore:
        """The verdict on a missing or blank prediction, under every variant of every metric: wrong."""
        status = "missing" if item.prediction is None else "truncated" if item.truncated else "unparsed"
        return ItemScore(item.id, 0.0, None, status)  # type: ignore[arg-type]

    def unit(self, item: Prediction) -> str:
        """The item itself, unless several are judged together."""
        return item.id

    def judge_all(self, items: Sequence[Prediction]) -> list[ItemScore]:
        """One verdict an item, in the order given. An item at fault itself is wrong and counted apart.

        Raises:
            UnjudgeableError: Half of the items or more are at fault, so that the metric hardly fits the task.
        """
        verdicts, odd = [], []
        for item in items:
            if item.prediction is None or not item.prediction.strip():
                verdicts.append(self.blank(item))
                continue
            try:
                verdicts.append(self.judge(item, item.prediction))
            except UnjudgeableError as error:
                odd.append(error)
                verdicts.append(ItemScore(item.id, 0.0, None, "unjudged"))
        if 2 * len(odd) >= len(items) and odd:
            raise odd[0]
        return verdicts

    def total(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> float:
        """The headline figure; the mean in points unless the metric says otherwise."""
        return points(v.score for v in verdicts)

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        """Sub-scores beside the headline figure."""
        return {}

    def score(self, items: Sequence[Prediction], *, task: str = "") -> Score:
        """Judge every item and total them; see :meth:`Metric.score`."""
        check_items(items, task or self.name)
        ordered = sorted(items, key=lambda item: item.id)
        verdicts = self.judge_all(ordered)
        details = self.details(ordered, verdicts)
        return self.assembled(task, verdicts, self.total(ordered, verdicts), details)

    def assembled(self, task: str, verdicts: Sequence[ItemScore], total: float, details: JSON) -> Score:
        """The :class:`Score` with its counts; ``details['lenient']`` is the lenient mean where any item has one."""
        unjudged = sum(v.status == "unjudged" for v in verdicts)
        if unjudged:
            details["unjudged"] = unjudged
        if any(v.lenient is not None for v in verdicts):
            details["lenient"] = points(v.score if v.lenient is None else v.lenient for v in verdicts)
        return Score(
            task=task,
            metric=self.name,
            variant=self.variant,
            score=total,
            n=len(verdicts),
            missing=sum(v.status == "missing" for v in verdicts),
            unparsed=sum(v.status == "unparsed" for v in verdicts),
            truncated=sum(v.status == "truncated" for v in verdicts),
            details=details,
            items=tuple(verdicts),
        )


def check_items(items: Sequence[Prediction], task: str) -> None:
    """Refuse an empty list and an id that comes twice."""
    if not items:
        raise HoldfastError(f"there is nothing to score for {task}: no items")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise HoldfastError(f"the id comes twice in {task}", item=item.id, remedy="keep one prediction an id")
        seen.add(item.id)


def verdict(item: Prediction, score: float, parsed: str | None, lenient: float | None = None) -> ItemScore:
    """An :class:`ItemScore` with its status worked out; ``lenient`` is dropped where it adds nothing."""
    status = "truncated" if item.truncated else "unparsed" if parsed is None else "ok"
    kept = lenient if lenient is not None and lenient > score else None
    return ItemScore(item.id, score, parsed, status, kept)  # type: ignore[arg-type]


def points(scores: Iterable[float]) -> float:
    """Mean of scores in 0..1, times 100. Summed exactly, so that order cannot change the last digit."""
    values = list(scores)
    return 100.0 * fsum(values) / len(values) if values else 0.0


def breakdown(
    items: Sequence[Prediction], verdicts: Sequence[ItemScore], key: str | Callable[[Prediction], object]
) -> dict[str, dict[str, float]]:
    """Score and n by a field of ``extra`` (or a function of the item); empty when no item has it."""
    groups: dict[str, list[float]] = {}
    for item, each in zip(items, verdicts, strict=True):
        value = item.extra.get(key) if isinstance(key, str) else key(item)
        values = value if isinstance(value, list | tuple) else () if value is None or value == "" else (value,)
        for one in values:
            groups.setdefault(str(one), []).append(each.score)
    return {name: {"score": points(groups[name]), "n": len(groups[name])} for name in sorted(groups)}


def add_breakdowns(
    details: JSON, items: Sequence[Prediction], verdicts: Sequence[ItemScore], keys: Mapping[str, str]
) -> JSON:
    """Add a ``by_...`` table to ``details`` for each key of ``extra`` that occurs."""
    for title, key in keys.items():
        table = breakdown(items, verdicts, key)
        if table:
            details[title] = table
    return details

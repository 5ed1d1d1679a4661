"""The one record from reading to report: what a model answered to an item, and what a metric made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from holdfast.values import JSON

Status = Literal["ok", "missing", "unparsed", "truncated", "unjudged"]
NOTHING: Mapping[str, Any] = MappingProxyType({})
"""The ``extra`` of items that have none; one object for all of them."""
ROW = "row "
"""Before the number of a row that stands for the id of a record without one. Two such files are compared only where
every row asks the same in both."""
TURN = 1_000_000
"""Where the options of a question are rotated, turn k of question i has the index i + k million."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered to one item, with all that is needed to judge it, and the judgement once there is one.

    Attributes:
        id: Unique within its task; items of two files are paired by it.
        prediction: The raw text of the model, special tokens removed; ``None`` where there is none.
        references: Gold answers (VQA: ten; captions: all references of the image).
        question: The question as asked, without the prompt's frame where that is known.
        image: Key of the image (path, id or content hash), empty when unknown; questions with the same key form one
            cluster in every interval and test.
        choices: The options of a multiple-choice item, in the order shown.
        truncated: Whether the model ran into the length limit.
        extra: What a metric groups by or needs beside: answer_type, category, subtask, answer_index...
        task: Name of the task; ``None`` where the file does not tell.
        metric: Name of the metric behind ``score``.
        score: Official score of the item, 0 to the metric's ``top`` (1 for rates); ``None`` until it is scored.
        lenient: Score under the lenient parser, same scale; ``None`` where that adds nothing. What it regains is format
            loss; what it loses too is ability loss.
        parsed: What the metric's parser understood; ``None`` if nothing, or not yet asked.
        status: What the scorer says; ``None`` and ``ok`` are the same.
        line: Line of the file, for messages.
    """

    id: str
    prediction: str | None = None
    references: tuple[str, ...] = ()
    _: KW_ONLY
    question: str = ""
    image: str = ""
    choices: tuple[str, ...] = ()
    truncated: bool = False
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING, hash=False)
    task: str | None = None
    metric: str | None = None
    score: float | None = None
    lenient: float | None = None
    parsed: str | None = None
    status: str | None = None
    line: int | None = None

    def to_json(self) -> JSON:
        """The line of the prediction file, without what is not set."""
        record: JSON = {"id": self.id, "task": self.task, "image": self.image or None}
        record |= {
            "question": self.question,
            "references": list(self.references),
            "choices": list(self.choices) or None,
        }
        record["extra"] = dict(self.extra) or None
        record |= {"prediction": self.prediction, "truncated": self.truncated, "metric": self.metric}
        record |= {"score": self.score, "lenient": self.lenient, "status": self.status}
        if self.parsed != self.prediction:
            record["parsed"] = self.parsed
        return {name: value for name, value in record.items() if value is not None or name == "prediction"}

    def judged(self, verdict: ItemScore, metric: str) -> Prediction:
        """The same record with what the metric made of it."""
        status = None if verdict.status == "ok" else verdict.status
        return replace(
            self,
            metric=metric,
            score=verdict.score,
            lenient=verdict.lenient,
            parsed=verdict.parsed,
            status=status,
        )


@dataclass(frozen=True, slots=True)
class ItemScore:
    """What a metric says of one item; :meth:`Prediction.judged` puts it into the record.

    Attributes:
        id: The item's id.
        score: 0 to 1 for rates; the per-item value for graded metrics (CIDEr: 0 to 10).
        parsed: What the parser understood; ``None`` if nothing.
        status: ``missing`` goes before ``truncated`` before ``unparsed`` before ``ok``; ``unjudged`` where the item
            itself is at fault.
        lenient: The score under lenient parsing or normalisation where it differs from ``score``.
        covers: Ids of the items that were judged together, the one that stands for them first; empty: the item itself.
    """

    id: str
    score: float
    parsed: str | None = None
    status: Status = "ok"
    lenient: float | None = None
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict of one metric on one task.

    ``score`` is in points, 0 to 100, where the metric is a rate, and the official number on its usual scale elsewhere
    (each metric's docstring says which). Nothing is rounded.

    Attributes:
        task: The task's name.
        metric: The metric's name.
        variant: Which of its rules.
        score: See above.
        n: Items.
        missing: Items without an answer; they count as wrong.
        unparsed: Answers that the parser gave up on.
        truncated: Answers that ran into the length limit.
        details: Sub-scores, and counts of the metric's own.
        items: The verdicts, one an item.
    """

    task: str
    metric: str
    variant: str
    score: float
    n: int
    missing: int
    unparsed: int
    truncated: int
    details: Mapping[str, Any]
    items: tuple[ItemScore, ...]

    @property
    def mean_of_items(self) -> float:
        """Mean of the items' scores, times 100: what a comparison compares, and the score itself of most metrics."""
        return 100 * math.fsum(item.score for item in self.items) / len(self.items)

    @property
    def is_mean(self) -> bool:
        """Whether the score is that mean, on its own scale or in points."""
        mean = self.mean_of_items
        return math.isclose(mean, self.score, abs_tol=0.005) or math.isclose(mean / 100, self.score, abs_tol=5e-5)

    def to_json(self) -> JSON:
        """The public form, without the items."""
        names = ("task", "metric", "variant", "score", "n", "missing", "unparsed", "truncated")
        record: JSON = {name: getattr(self, name) for name in names}
        record["details"] = dict(self.details)
        return record

"""The three records of scoring: what is judged, how each item came out, and the total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "missing", "unparsed", "truncated"]


@dataclass(frozen=True, slots=True)
class Item:
    """One prediction with all that is needed to judge it.

    Attributes:
        id: Unique within the task.
        prediction: The model's text; ``None`` when there is none.
        references: Gold answers (VQA: ten; captions: all references of the image).
        question: The question as asked, without the prompt's frame where that is known.
        image: Cluster key: image path, id or content hash; empty when unknown.
        choices: Options of a multiple-choice question, in the order shown.
        truncated: Generation stopped at the length limit.
        extra: What a metric groups by: answer_type, category, subject, split, pair key...
    """

    id: str
    prediction: str | None
    references: tuple[str, ...]
    question: str = ""
    image: str = ""
    choices: tuple[str, ...] = ()
    truncated: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ItemScore:
    """How one item came out.

    Attributes:
        id: The item's id.
        score: 0 to 1 for rates; the per-item value for graded metrics (CIDEr: 0 to 10).
        parsed: What the parser understood; ``None`` if nothing.
        status: ``missing`` goes before ``truncated`` before ``unparsed`` before ``ok``.
        lenient: The score under lenient parsing or normalisation where it differs from ``score``. The gap between
            the two is format loss; what lenient parsing loses too is ability loss.
    """

    id: str
    score: float
    parsed: str | None = None
    status: Status = "ok"
    lenient: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict of one metric on one task.

    ``score`` is in points, 0 to 100, where the metric is a rate, and the official number on its usual scale elsewhere
    (each metric's docstring says which). Nothing is rounded.
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

    def to_json(self) -> dict[str, Any]:
        """The public form, without the items."""
        names = ("task", "metric", "variant", "score", "n", "missing", "unparsed", "truncated")
        record: dict[str, Any] = {name: getattr(self, name) for name in names}
        record["details"] = dict(self.details)
        return record

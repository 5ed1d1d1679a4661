"""How good a pocket model is: exact match of every source and target beside what is possible without looking."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from holdfast.pocket.making.language import exact_matches, tower_features
from holdfast.pocket.tasks import SOURCES, TARGETS, Split, any_object_floor, blind_floor, draw
from holdfast.values import JSON


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One task's line of the table; numbers in points (0-100).

    ``any_object`` is the accuracy of describing a random object of the picture, where that is a trick that pays.
    """

    task: str
    role: str
    accuracy: float
    blind: float
    any_object: float | None
    n: int


def accuracy(model: Any, task: str, n: int, *, split: Split = "test", seed: int = 0) -> float:
    """Exact-match accuracy in points on ``n`` draws of one part."""
    samples = draw(task, split, n, seed)
    features = tower_features(model, np.stack([sample.image for sample in samples]))
    right = exact_matches(model, features, [(sample.question, sample.answer) for sample in samples])
    return 100.0 * float(right.mean())


def score_table(model: Any, *, n: int = 500, split: Split = "test") -> list[ScoreRow]:
    """All tasks, sources first, ``n`` items each; floors come from 4n and 2n draws. Leaves evaluation mode on."""
    model.eval()
    rows = []
    for task in SOURCES + TARGETS:
        role = "source" if task in SOURCES else "target"
        found = accuracy(model, task, n, split=split)
        blind = blind_floor(task, train=4 * n, test=2 * n)
        rows.append(ScoreRow(task, role, found, blind, any_object_floor(task, test=2 * n), n))
    return rows


def source_mean(rows: list[ScoreRow]) -> float:
    """Unweighted mean accuracy of the sources."""
    return float(np.mean([row.accuracy for row in rows if row.role == "source"]))


def as_records(rows: list[ScoreRow]) -> list[JSON]:
    """Rows as plain data, rounded to hundredths of a point."""
    return [
        {key: round(value, 2) if isinstance(value, float) else value for key, value in asdict(row).items()}
        for row in rows
    ]

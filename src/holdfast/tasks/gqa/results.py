"""GQA: the questions file, and predictions as the official script or LLaVA writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.predictions.gold import Gold, gold_of, inside
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction
from holdfast.tasks.gqa.download import draft
from holdfast.tasks.preparing.source import read_objects


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """The questions of ``*_questions.json``, by id."""
    file = inside(place, "testdev_balanced_questions.json*", "*questions.json*")
    return Gold(file, gold_of(file, (draft(record).reference() for record in read_objects(file).values())))


BENCHMARK = Benchmark(metrics={"gqa": "gqa"}, gold=references)

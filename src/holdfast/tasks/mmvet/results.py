"""MM-Vet: grade files of the official evaluator, which hold grades by id and no answers."""

from __future__ import annotations

from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark, Layout, known_by, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.tasks.mmvet.download import draft
from holdfast.tasks.preparing.source import Fields, objects_in, read_objects

GRADED = "(graded)"
"""Stands for the answer, which the grade file does not repeat."""


def fits(look: Look) -> bool:
    """A map of ids to the judge's model, words and grades."""
    first = next(iter(look.content.values()), None) if isinstance(look.content, dict) else None
    return isinstance(first, dict) and first.keys() >= {"score", "model", "content"}


def read(look: Look, ask: Ask) -> Reading:
    """Grades by id, of one run or several; ``mm-vet.json`` as references says what each question needs."""
    rows = map(_graded, objects_in(look.content, look.path).values())
    return known_by("mmvet", reading_of(look, "MM-Vet grades", rows))


def _graded(record: Fields) -> Prediction:
    if "score" not in record.values:
        raise record.fault("the answer has no grade")
    return Prediction(record.item, GRADED, extra={"grades": record.get("score"), "model": record.get("model")})


BENCHMARK = Benchmark(
    metrics={"mmvet": "mmvet"},
    layouts=(Layout("MM-Vet grades", fits, read),),
    gold=gold_in(
        "mm-vet.json", items=lambda file: (draft(record).reference() for record in read_objects(file).values())
    ),
    also_for=("mmvet",),
)

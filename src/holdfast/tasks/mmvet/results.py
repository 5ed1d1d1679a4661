"""MM-Vet: grade files of the official evaluator, which hold grades by id and no answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.predictions.gold import Gold, gold_of, inside
from holdfast.predictions.layout import Benchmark, Layout, known_by, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.values import JSON

GRADED = "(graded)"
"""Stands for the answer, which the grade file does not repeat."""


def fits(look: Look) -> bool:
    """A map of ids to the judge's model, words and grades."""
    first = next(iter(look.content.values()), None) if isinstance(look.content, dict) else None
    return isinstance(first, dict) and first.keys() >= {"score", "model", "content"}


def read(look: Look, ask: Ask) -> Reading:
    """Grades by id, of one run or several; ``mm-vet.json`` as references says what each question needs."""
    rows = (_graded(look, key, row) for key, row in look.content.items())
    return known_by("mmvet", reading_of(look, "MM-Vet grades", rows))


def _graded(look: Look, key: str, row: Any) -> Prediction:
    if not isinstance(row, dict) or "score" not in row:
        raise HoldfastError("the answer has no grade", file=look.path, item=key)
    return Prediction(key, GRADED, extra={"grades": row["score"], "model": row.get("model")})


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``mm-vet.json``."""
    file = inside(place, "mm-vet.json")
    content = read_json(file)
    if not isinstance(content, dict) or not all(isinstance(row, dict) for row in content.values()):
        raise HoldfastError("the references are no questions by id", file=file)
    return Gold(file, gold_of(file, (_question(key, row) for key, row in content.items())))


def _question(key: str, row: JSON) -> Prediction:
    return Prediction(
        key,
        references=(str(row.get("answer", "")),),
        question=str(row.get("question", "")),
        image=str(row.get("imagename", "")),
        extra={"capability": row.get("capability", ())},
    )


BENCHMARK = Benchmark(
    metrics={"mmvet": "mmvet"}, layouts=(Layout("MM-Vet grades", fits, read),), gold=references, also_for=("mmvet",)
)

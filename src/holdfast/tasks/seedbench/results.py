"""SEED-Bench: the official questions file, against answers by ``question_id`` as its leaderboard takes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.files import read
from holdfast.predictions.columns import as_key
from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.record import Prediction
from holdfast.tasks.preparing.source import Fields, read_records

_CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")


def _questions(file: Path) -> Iterator[Prediction] | None:
    """``SEED-Bench.json``, and no table such as VLMEvalKit's; the image of a question is its cluster."""
    if isinstance(read(file), list):
        return None
    return map(_question, read_records(file, "questions", named="question_id"))


def _question(record: Fields) -> Prediction:
    return Prediction(
        record.item,
        references=(record.answer(),),
        question=record.words("question"),
        image=as_key(record.get("data_id")),
        choices=tuple(str(record.get(name)) for name in _CHOICES if record.get(name) is not None),
        extra={"question_type_id": record.get("question_type_id")},
    )


BENCHMARK = Benchmark(
    metrics={"seedbench": "seedbench", "seedbench_img": "seedbench"},
    gold=gold_in("SEED-Bench*.json", "SEEDBench*.tsv", items=_questions),
    also_for=("seedbench",),
)

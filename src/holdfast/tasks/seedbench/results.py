"""SEED-Bench: the official questions file, against answers by ``question_id`` as its leaderboard takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import read
from holdfast.predictions.columns import as_id, as_key
from holdfast.predictions.gold import Gold, gold_of, inside, plain_gold, the_list
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction
from holdfast.values import JSON

_CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``SEED-Bench.json``, or plain references such as VLMEvalKit's table; the image of a question is its cluster."""
    file = inside(place, "SEED-Bench*.json", "SEEDBench*.tsv")
    content = read(file)
    if isinstance(content, list):
        return plain_gold(file, said, ask)
    return Gold(file, gold_of(file, (_question(file, row) for row in the_list(content, file, "questions"))))


def _question(file: Path, row: JSON) -> Prediction:
    key = as_id(row.get("question_id"), "question_id", file, None)
    if not row.get("answer"):
        raise HoldfastError("the question has no answer", file=file, item=key)
    return Prediction(
        key,
        references=(str(row["answer"]),),
        question=str(row.get("question", "")),
        image=as_key(row.get("data_id")),
        choices=tuple(str(row[name]) for name in _CHOICES if row.get(name) is not None),
        extra={"question_type_id": row.get("question_type_id")},
    )


BENCHMARK = Benchmark(
    metrics={"seedbench": "seedbench", "seedbench_img": "seedbench"}, gold=references, also_for=("seedbench",)
)

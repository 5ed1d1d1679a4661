"""RSVQA: questions and answers in two files, linked by question id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.record import Prediction
from holdfast.tasks.rsvqa.download import drafts


def _questions(file: Path) -> Iterator[Prediction] | None:
    """``*questions.json`` with ``*answers.json`` beside it."""
    if "questions" not in file.name:
        return None
    beside = file.with_name(file.name.replace("questions", "answers"))
    if not beside.is_file():
        raise HoldfastError(f"the answers {beside.name} are not beside the questions", file=file)
    return (draft.reference() for draft in drafts(file, beside))


BENCHMARK = Benchmark(
    metrics={"rsvqa": "exact_match"}, gold=gold_in("*test_questions.json*", "*questions.json*", items=_questions)
)

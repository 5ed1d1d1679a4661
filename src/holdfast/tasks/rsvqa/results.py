"""RSVQA: questions and answers in two files, linked by question id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions.gold import Gold, gold_of, inside, plain_gold
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction
from holdfast.tasks.rsvqa.download import drafts


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``*questions.json`` with ``*answers.json`` beside it, or plain records."""
    if place.is_file() and "questions" not in place.name:
        return plain_gold(place, said, ask)
    file = inside(place, "*test_questions.json*", "*questions.json*")
    beside = file.with_name(file.name.replace("questions", "answers"))
    if not beside.is_file():
        raise HoldfastError(f"the answers {beside.name} are not beside the questions", file=file)
    return Gold(file, gold_of(file, (draft.reference() for draft in drafts(file, beside))))


BENCHMARK = Benchmark(metrics={"rsvqa": "exact_match"}, gold=references)

"""RSVQA: questions and answers in two files, linked by question id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.predictions.gold import Gold, inside, plain_gold
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``*questions.json`` with ``*answers.json`` beside it, or plain records."""
    if place.is_file() and "questions" not in place.name:
        return plain_gold(place, said, ask)
    file = inside(place, "*test_questions.json*", "*questions.json*")
    beside = file.with_name(file.name.replace("questions", "answers"))
    if not beside.is_file():
        raise HoldfastError(f"the answers {beside.name} are not beside the questions", file=file)
    asked, given = read_json(file), read_json(beside)
    answers = {a["question_id"]: str(a["answer"]) for a in given.get("answers", ()) if a.get("active", True)}
    items = {}
    for one in asked.get("questions", ()):
        if not one.get("active", True):
            continue
        key = str(one["id"])
        if one["id"] not in answers:
            raise HoldfastError("the question has no answer", file=beside, item=key)
        items[key] = Prediction(
            key,
            None,
            (answers[one["id"]],),
            question=str(one.get("question", "")),
            image=str(one.get("img_id", "")),
            extra={"question_type": one.get("type")},
        )
    return Gold(file, items)


BENCHMARK = Benchmark(metrics={"rsvqa": "exact_match"}, gold=references)

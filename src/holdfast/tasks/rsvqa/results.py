"""RSVQA: questions and answers in two files, linked by question id."""

from __future__ import annotations

from holdfast.errors import HoldfastError
from holdfast.predictions import plain as records
from holdfast.predictions.answers import pair, read_answers
from holdfast.predictions.official_files import read_json
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request, inside


def items(request: Request) -> list[Prediction]:
    """Predictions against ``*questions.json`` with ``*answers.json`` beside it, or against plain records."""
    place = request.needed
    if place.is_file() and "questions" not in place.name:
        return records.items(request)
    file = inside(place, "*test_questions.json*", "*questions.json*")
    beside = file.with_name(file.name.replace("questions", "answers"))
    if not beside.is_file():
        raise HoldfastError(f"the answers {beside.name} are not beside the questions", file=file)
    asked, given = read_json(file), read_json(beside)
    answers = {a["question_id"]: str(a["answer"]) for a in given.get("answers", ()) if a.get("active", True)}
    references = {}
    for one in asked.get("questions", ()):
        if not one.get("active", True):
            continue
        key = str(one["id"])
        if one["id"] not in answers:
            raise HoldfastError("the question has no answer", file=beside, item=key)
        extra = {"question_type": one.get("type")}
        references[key] = Prediction(
            key,
            None,
            references=(answers[one["id"]],),
            question=str(one.get("question", "")),
            image=str(one.get("img_id", "")),
            extra=extra,
        )
    return pair(read_answers(request.predictions), references, file, intersect=request.intersect)

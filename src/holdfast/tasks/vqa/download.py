"""VQA v2 and OK-VQA: a questions file and an annotations file a split, ten answers a question."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError
from holdfast.tasks.preparing.draft import Draft, ten_answers
from holdfast.tasks.preparing.source import Source, read_records, take, whole


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train2014`` or ``val2014``, by question id."""
    options = source.card.options
    asked = source.file(options["questions"].format(split=split))
    given = source.file(options["annotations"].format(split=split))
    questions = {whole(record, "question_id", file=asked): record for record in read_records(asked, "questions")}
    answered = 0
    for record in read_records(given, "annotations"):
        key = whole(record, "question_id", file=given)
        question = questions.get(key)
        if question is None:
            raise HoldfastError(f"the question is not in {asked.name}", file=given, item=str(key))
        answered += 1
        image = whole(question, "image_id", file=asked, item=str(key))
        yield Draft(
            str(key),
            str(take(question, "question", file=asked, item=str(key))),
            ten_answers(record, file=given, item=str(key)),
            f"{split}/COCO_{split}_{image:012d}.jpg",
            extra={name: record.get(name) for name in ("answer_type", "question_type")},
        )
    if answered < len(questions):
        raise HoldfastError(
            f"{len(questions) - answered} of {len(questions)} questions have no annotation in {given.name}", file=asked
        )

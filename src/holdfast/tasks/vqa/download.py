"""VQA v2 and OK-VQA: a questions file and an annotations file a split, ten answers a question."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError
from holdfast.tasks.preparing.draft import Draft, ten_answers
from holdfast.tasks.preparing.source import Source, read_records


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train2014`` or ``val2014``, by question id."""
    options = source.card.options
    asked = source.file(options["questions"].format(split=split))
    given = source.file(options["annotations"].format(split=split))
    questions = {record.item: record for record in read_records(asked, "questions", named="question_id")}
    answered = 0
    for record in read_records(given, "annotations", named="question_id"):
        question = questions.get(record.item)
        if question is None:
            raise record.fault(f"the question is not in {asked.name}")
        answered += 1
        image = f"{split}/COCO_{split}_{question.whole('image_id'):012d}.jpg"
        extra = {name: record.get(name) for name in ("answer_type", "question_type")}
        yield Draft(record.item, question.text("question"), ten_answers(record), image, extra=extra)
    if answered < len(questions):
        raise HoldfastError(
            f"{len(questions) - answered} of {len(questions)} questions have no annotation in {given.name}", file=asked
        )

"""RSVQA: questions and answers in two files a split, linked by question id; inactive entries are leftovers."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_records, take, whole


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train``, ``val`` or ``test`` (high resolution: also ``test_phili``)."""
    options = source.card.options
    asked = source.file(f"{options['prefix']}_split_{split}_questions.json")
    given = source.file(f"{options['prefix']}_split_{split}_answers.json")
    folder = source.folder(options["images"])
    answers = {
        whole(record, "question_id", file=given): str(take(record, "answer", file=given))
        for record in read_records(given, "answers")
        if record.get("active", True)
    }
    for record in read_records(asked, "questions"):
        if not record.get("active", True):
            continue
        number = whole(record, "id", file=asked)
        key = str(number)
        if number not in answers:
            raise HoldfastError(f"the question has no answer in {given.name}", file=asked, item=key)
        image = whole(record, "img_id", file=asked, item=key)
        question = str(take(record, "question", file=asked, item=key))
        extra = {"question_type": record.get("type")}
        yield Draft(key, question, (answers[number].strip(),), f"{folder}/{image}.tif", extra=extra)

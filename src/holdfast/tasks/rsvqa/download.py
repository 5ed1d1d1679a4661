"""RSVQA: questions and answers in two files a split, linked by question id; inactive entries are leftovers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source, read_records


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train``, ``val`` or ``test`` (high resolution: also ``test_phili``)."""
    options = source.card.options
    asked = source.file(f"{options['prefix']}_split_{split}_questions.json")
    given = source.file(f"{options['prefix']}_split_{split}_answers.json")
    folder = source.folder(options["images"])
    for draft in drafts(asked, given):
        yield replace(draft, image=f"{folder}/{draft.image}.tif")


def drafts(asked: Path, given: Path) -> Iterator[Draft]:
    """Active questions with their answers, the image called by its number."""
    answers = {record.whole("question_id"): record.text("answer").strip() for record in _active(given, "answers")}
    for unnamed in _active(asked, "questions"):
        number = unnamed.whole("id")
        record = unnamed.named(str(number))
        if number not in answers:
            raise record.fault(f"the question has no answer in {given.name}")
        question, image, extra = record.words("question"), record.words("img_id"), {"question_type": record.get("type")}
        yield Draft(record.item, question, (answers[number],), image, extra=extra)


def _active(file: Path, name: str) -> Iterator[Fields]:
    return (record for record in read_records(file, name) if record.get("active", True))

"""OCR-VQA: one JSON object by book, several questions a book, splits by number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_objects

NUMBERS = {"train": 1, "val": 2, "test": 3}


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items ``<book>_<number from 0>``."""
    file = source.file("dataset.json")
    folder = source.folder("images")
    for draft in drafts(file, split):
        yield replace(draft, image=f"{folder}/{draft.image}")


def drafts(file: Path, split: str) -> Iterator[Draft]:
    """The questions of a split; the ending of the image's name is that of its address."""
    for book, record in read_objects(file).items():
        if record.get("split") != NUMBERS[split]:
            continue
        questions, answers = record.listed("questions"), record.listed("answers")
        if len(questions) != len(answers):
            raise record.fault("the book has not as many answers as questions")
        ending = PurePosixPath(urlparse(record.words("imageURL")).path).suffix or ".jpg"
        image, extra = record.safe(book + ending), {"genre": record.get("genre")}
        for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            yield Draft(f"{book}_{number}", str(question), (str(answer).strip(),), image, extra=extra)

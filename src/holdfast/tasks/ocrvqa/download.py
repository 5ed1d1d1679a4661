"""OCR-VQA: one JSON object by book, several questions a book, splits by number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import urlparse

from holdfast.errors import HoldfastError
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, listed, read_objects, safe_part

NUMBERS = {"train": 1, "val": 2, "test": 3}


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items ``<book>_<number from 0>``; the image's ending is that of its address."""
    file = source.file("dataset.json")
    folder = source.folder("images")
    for book, record in read_objects(file).items():
        if record.get("split") != NUMBERS[split]:
            continue
        questions = listed(record, "questions", file=file, item=book)
        answers = listed(record, "answers", file=file, item=book)
        if len(questions) != len(answers):
            raise HoldfastError("the book has not as many answers as questions", file=file, item=book)
        ending = PurePosixPath(urlparse(str(record.get("imageURL", ""))).path).suffix or ".jpg"
        image = f"{folder}/{safe_part(book + ending, file=file, item=book)}"
        for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            extra = {"genre": record.get("genre")}
            yield Draft(f"{book}_{number}", str(question), (str(answer).strip(),), image, extra=extra)

"""Birds: a list of questions a split, ``[{id, image, question, answer}]``."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_records, safe_part, take


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by the official id."""
    file = source.file(f"{split}.json")
    for record in read_records(file, None):
        key = str(take(record, "id", file=file))
        name = safe_part(str(take(record, "image", file=file, item=key)), file=file, item=key)
        question = str(take(record, "question", file=file, item=key))
        answer = str(take(record, "answer", file=file, item=key))
        yield Draft(key, question, (answer,), f"images/{name}")

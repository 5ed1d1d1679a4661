"""Birds: a list of questions a split, ``[{id, image, question, answer}]``."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_records


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by the official id."""
    file = source.file(f"{split}.json")
    for record in read_records(file, None, named="id"):
        image = record.safe(record.text("image"))
        yield Draft(record.item, record.text("question"), (record.text("answer"),), f"images/{image}")

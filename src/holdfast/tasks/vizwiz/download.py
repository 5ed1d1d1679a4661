"""VizWiz: one JSON list a split, ten answers a question, the image's name as id."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft, ten_answers
from holdfast.tasks.preparing.source import Source, read_records


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train`` or ``val``."""
    file = source.file(f"Annotations/{split}.json", f"annotations/{split}.json", f"{split}.json")
    for record in read_records(file, None, named="image"):
        image = f"{split}/{record.safe(record.item)}"
        extra = {key: record.get(key) for key in ("answer_type", "answerable")}
        yield Draft(record.item, record.text("question"), ten_answers(record), image, extra=extra)

"""MMStar: one table with the images inside it."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source
from holdfast.tasks.preparing.table import choice_draft, table_rows


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by index. The official table has its options in the question, VLMEvalKit's in columns of their own."""
    for row in table_rows(source.file(f"{split}.tsv")):
        yield choice_draft(row, {"bench": row.cell("bench") or None})

"""RealWorldQA: VLMEvalKit's table, with the images inside it."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source
from holdfast.tasks.preparing.table import choice_draft, open_draft, table_rows


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by index; a question without options is answered in words."""
    for row in table_rows(source.file(f"{split}.tsv")):
        if row.choices():
            yield choice_draft(row)
        else:
            yield open_draft(row, (row.cell("answer"),), {"category": row.cell("category") or None})

"""AI2D: VLMEvalKit's tables of the test split, with and without letters drawn over the labels."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source
from holdfast.tasks.preparing.table import choice_draft, table_rows


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by index: the diagram's number times a hundred, plus the question's."""
    for row in table_rows(source.file(f"{split}.tsv")):
        yield choice_draft(row)

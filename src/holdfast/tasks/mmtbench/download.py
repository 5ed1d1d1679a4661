"""MMT-Bench: one table; several pictures of a question are combined into one, or stand in a list (``_MI``)."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source
from holdfast.tasks.preparing.table import choice_draft, table_rows


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by index, options A to I."""
    for row in table_rows(source.file(f"{split}.tsv")):
        yield choice_draft(row)

"""MMMU: VLMEvalKit's table of the development and validation questions, with up to seven images inside a row."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from holdfast.tasks.mmmu.metric import subject_of_id
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source
from holdfast.tasks.preparing.table import TableRow, choice_draft, open_draft, table_rows


def read(source: Source, split: str) -> Iterator[Draft]:
    """Questions of the split ``dev`` or ``validation`` by index; their text says where ``<image 1>`` and others stand.

    A question whose first option is empty is an open one; several right answers stand in a list.
    """
    for row in table_rows(source.file("MMMU_DEV_VAL.tsv")):
        if row.cell("split") != split:
            continue
        is_open = not row.cell("A")
        extra = {
            "question_type": "open" if is_open else "multiple-choice",
            "subject": subject_of_id(row.cell("id")) or row.cell("category") or None,
        }
        if is_open:
            yield open_draft(row, _listed(row), {**extra, "split": split})
        else:
            yield choice_draft(row, extra)


def _listed(row: TableRow) -> tuple[str, ...]:
    text = row.cell("answer")
    if text.startswith("[") and text.endswith("]"):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return (text,)
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            return tuple(value)
    return (text,)

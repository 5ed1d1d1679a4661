"""Benchmark tables in VLMEvalKit's form: a row a question, options in columns A, B, C..., images inside as base64.

The form is that of ``vlmeval/dataset/image_base.py`` (e8e78f0): ``image`` holds one picture, a list of them, or the
index of the row that has it.
"""

from __future__ import annotations

import ast
import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import records
from holdfast.predictions.columns import cell_text, options_in
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source

_LONGEST_INDEX = 64
"""What is longer cannot be an index but a picture; so the tables' own tool tells them apart."""


@dataclass(frozen=True, slots=True)
class TableRow(Fields):
    """One question of a table, called by its index, with the rows it may borrow its picture from."""

    table: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def cell(self, *names: str) -> str:
        """The text of the first of these columns that says something."""
        return next((text for name in names if (text := cell_text(self.values.get(name)))), "")

    def choices(self) -> tuple[str, ...]:
        """Options A, B, C..., empty ones on the way among them."""
        return options_in(self.values, ascii_uppercase)

    def gold(self, options: int) -> int:
        """Index of the right option.

        Raises:
            HoldfastError: The answer is no letter of these options.
        """
        answer = self.cell("answer")
        if not answer:
            raise self.fault("the question has no answer, as test splits have none")
        place = ascii_uppercase.find(answer) if len(answer) == 1 else -1
        if not 0 <= place < options:
            raise self.fault(f"the answer '{answer[:40]}' names none of the {options} options")
        return place

    def pictures(self) -> tuple[str, tuple[bytes, ...]]:
        """Index of the row whose pictures these are, and the pictures.

        Raises:
            HoldfastError: There is none, or it is no base64.
        """
        owner, text = self.item, self.cell("image")
        if 0 < len(text) <= _LONGEST_INDEX:
            owner, text = text, cell_text(self.table.get(text, {}).get("image"))
        try:
            listed = ast.literal_eval(text) if text.startswith("[") and text.endswith("]") else [text]
            found = tuple(base64.b64decode(str(one), validate=True) for one in listed)
        except (binascii.Error, ValueError, SyntaxError, TypeError) as error:
            raise self.fault("the image is not base64") from error
        if not found or not all(found):
            raise self.fault("the row has no image")
        return owner, found


def table_rows(file: Path) -> Iterator[TableRow]:
    """The rows of a table, in their order.

    Raises:
        HoldfastError: A row without index, or one whose index was there.
    """
    found: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for record in records(file):
        index = cell_text(record.values.get("index")) or cell_text(record.values.get("question_id"))
        if not index:
            raise HoldfastError("the row has no index", file=file, line=record.line)
        if index in found:
            raise HoldfastError("the index comes twice", file=file, line=record.line, item=index)
        found[index] = (record.line, record.values)
    table = {index: values for index, (_, values) in found.items()}
    for index, (line, values) in found.items():
        yield TableRow(file, values, line, index, table)


def read_table(source: Source, split: str) -> Iterator[Draft]:
    """Questions of single choice by index, of the table that is called as the split."""
    return map(choice_draft, table_rows(source.file(f"{split}.tsv")))


def choice_draft(row: TableRow, extra: Mapping[str, Any] | None = None) -> Draft:
    """A question of single choice as an item, answered by its letter; of several pictures the further ones beside."""
    return with_pictures(choice(row, extra), row)


def choice(row: TableRow, extra: Mapping[str, Any] | None = None) -> Draft:
    """The same without its pictures."""
    choices = row.choices()
    place = row.gold(len(choices) or 4)
    fields = {
        "answer_index": place,
        "hint": row.cell("hint") or None,
        "category": row.cell("category") or None,
        "l2_category": row.cell("l2-category", "l2_category") or None,
        "split": row.cell("split") or None,
        **(extra or {}),
    }
    return Draft(row.item, row.cell("question"), (ascii_uppercase[place],), None, choices, fields)


def open_draft(row: TableRow, answers: tuple[str, ...], extra: Mapping[str, Any]) -> Draft:
    """A question without options as an item."""
    return with_pictures(Draft(row.item, row.cell("question"), answers, None, extra=extra), row)


def with_pictures(draft: Draft, row: TableRow) -> Draft:
    """An item with the pictures of its row, the first as its image."""
    owner, pictures = row.pictures()
    names = [f"{owner}{f'_{number}' if number else ''}.{_ending(picture)}" for number, picture in enumerate(pictures)]
    further = tuple(zip(names[1:], pictures[1:], strict=True))
    return replace(draft, image=names[0], picture=pictures[0], more=further)


def _ending(picture: bytes) -> str:
    return "png" if picture.startswith(b"\x89PNG") else "jpg"

"""MMBench: one table with the images inside it, and a row for each rotation of a question's options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from string import ascii_uppercase

from holdfast.predictions.record import TURN
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source
from holdfast.tasks.preparing.table import choice_draft, table_rows


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by index; a table without rotations gets them, or circular scoring would mean nothing."""
    tables = source.card.options["tables"].format(split=split, upper=split.upper())
    file = source.file(*tables.split(" | "))
    rows = list(table_rows(file))
    for row in rows:
        if not row.item.isdecimal():
            raise row.fault("the index is no whole number")
    rotated = any(int(row.item) >= TURN for row in rows)
    for row in rows:
        draft = choice_draft(row)
        group = str(int(row.item) % TURN)
        draft = replace(draft, group=group, image=f"{group}{str(draft.image)[str(draft.image).rindex('.') :]}")
        for turn in range(1 if rotated else len(draft.choices)):
            yield _turned(draft, turn) if turn else draft


def _turned(draft: Draft, turn: int) -> Draft:
    """The same question with its options moved up by ``turn`` places."""
    choices = draft.choices[turn:] + draft.choices[:turn]
    at = (int(draft.extra["answer_index"]) - turn) % len(choices)
    extra = {**draft.extra, "answer_index": at}
    return replace(
        draft, id=str(int(draft.id) + turn * TURN), answers=(ascii_uppercase[at],), choices=choices, extra=extra
    )

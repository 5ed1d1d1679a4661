"""MMBench: one table with the images inside it, and a row for each rotation of a question's options."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase

from holdfast.errors import HoldfastError
from holdfast.files import records
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source

ROTATION = 1_000_000
"""Rotation k of question i has the index i + k million."""


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by index; a table without rotations gets them, or circular scoring would mean nothing."""
    options = source.card.options["tables"].format(split=split, upper=split.upper())
    file = source.file(*options.split(" | "))
    rows = dict(_rows(file))
    rotated = any(index >= ROTATION for index in rows)
    for index, row in rows.items():
        choices = _choices(row)
        gold = (row.get("answer") or "").strip()
        place = ascii_uppercase.find(gold) if len(gold) == 1 else -1
        if not 0 <= place < len(choices):
            raise HoldfastError(
                f"the answer '{gold}' names none of the {len(choices)} options", file=file, item=str(index)
            )
        picture = _picture(file, index, rows)
        for turn in range(1 if rotated else len(choices)):
            yield _draft(index + turn * ROTATION, row, choices[turn:] + choices[:turn], place - turn, picture)


def _draft(index: int, row: Mapping[str, str], choices: tuple[str, ...], place: int, picture: bytes) -> Draft:
    at = place % len(choices)
    extra = {
        "answer_index": at,
        "hint": _cell(row, "hint") or None,
        "category": _cell(row, "category") or None,
        "l2_category": _cell(row, "l2-category") or None,
        "split": _cell(row, "split") or None,
    }
    group = str(index % ROTATION)
    ending = "png" if picture.startswith(b"\x89PNG") else "jpg"
    question = _cell(row, "question")
    return Draft(str(index), question, (ascii_uppercase[at],), f"{group}.{ending}", choices, extra, group, picture)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    seen: set[int] = set()
    for row in records(file):
        index = (row.values.get("index") or "").strip()
        if not index.isdecimal():
            raise HoldfastError("the row has no index", file=file, line=row.line)
        if int(index) in seen:
            raise HoldfastError("the index comes twice", file=file, line=row.line, item=index)
        seen.add(int(index))
        yield int(index), row.values


def _choices(row: Mapping[str, str]) -> tuple[str, ...]:
    """Options A, B, C... up to the first empty one."""
    found: list[str] = []
    for name in ascii_uppercase:
        text = _cell(row, name)
        if not text:
            break
        found.append(text)
    return tuple(found)


def _cell(row: Mapping[str, str], name: str) -> str:
    """A cell's text; tables written by pandas say ``nan`` for nothing."""
    text = (row.get(name) or "").strip()
    return "" if text.lower() == "nan" else text


def _picture(file: Path, index: int, rows: Mapping[int, Mapping[str, str]]) -> bytes:
    """The image of a row; newer tables give the index of the row that has it instead."""
    text = _cell(rows[index], "image")
    if text.isdecimal() and len(text) < 12:
        text = _cell(rows.get(int(text), {}), "image")
    try:
        picture = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HoldfastError("the image is not base64", file=file, item=str(index)) from error
    if not picture:
        raise HoldfastError("the row has no image", file=file, item=str(index))
    return picture

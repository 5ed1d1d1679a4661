"""Rows of CSV, TSV and xlsx, each with its line; what is wrong with a row comes in its place."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from holdfast.errors import HoldfastError
from holdfast.files.content import LINE_LIMIT, within
from holdfast.values import JSON

EXCEL_CELL_LIMIT = 32_767
"""Characters that a cell of a workbook can hold; a text of exactly this length has passed through one and been cut."""
_EXCEL_ROWS = 1_048_576
_COLUMNS = 1_000
_PARTS = 10_000

Entry = tuple[int, JSON | HoldfastError]


def delimited(lines: Iterable[tuple[int, str]], delimiter: str, file: Path) -> Iterator[Entry]:
    """The rows of a CSV or TSV by the names in its first row; a row is named by the line it begins on.

    A table whose header has not one of the usual separators is divided by the one that it has.

    Raises:
        HoldfastError: No rows, a column named twice, or quotes that do not close.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))
    texts = (text for _, text in lines)
    start = next(texts, "")
    reader = csv.reader(chain((start,), texts), delimiter=_separator(start, delimiter), strict=True)
    header: list[str] | None = None
    begin, seen = 1, False
    try:
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = _header(cells, file, line)
                continue
            seen = True
            if len(cells) != len(header):
                fewer = "fewer" if len(cells) < len(header) else "more"
                yield line, HoldfastError(f"the row has {fewer} cells than the header")
            else:
                yield line, _uncut(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise HoldfastError(f"this is no valid table: {error}", file=file, line=begin) from error
    if not seen:
        raise HoldfastError("the table has no rows", file=file)


def _separator(header: str, usual: str) -> str:
    """What divides the cells: the usual character, or where the header has none of it the one it has, such as the
    semicolon of programs that write commas into numbers."""
    if usual in header:
        return usual
    others = [other for other in ",;\t" if other in header]
    return others[0] if len(others) == 1 else usual


def _header(names: list[str], file: Path, line: int) -> list[str]:
    twice = next((name for at, name in enumerate(names) if name and name in names[:at]), None)
    if twice is not None:
        raise HoldfastError(f"the column '{twice[:100]}' comes twice", file=file, line=line)
    return names


def _uncut(row: JSON) -> JSON | HoldfastError:
    for name, cell in row.items():
        if isinstance(cell, str) and len(cell) == EXCEL_CELL_LIMIT:
            return HoldfastError(
                f"the cell '{name}' has exactly {EXCEL_CELL_LIMIT:,} characters, where Excel cuts",
                item=str(row.get("index", row.get("id", "")))[:100] or None,
                remedy="have the tool write TSV or JSON, which do not cut",
            )
    return row


def sheet(stream: BinaryIO, file: Path) -> Iterator[Entry]:
    """The rows of a workbook's first sheet by the names in its first row.

    Raises:
        HoldfastError: It is no workbook, damaged, without rows, or inflates without measure.
    """
    with _workbook_errors(file):
        _weigh(stream, file)
        from openpyxl import load_workbook

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # An answer such as "= 3" is written as a formula whose value nobody has worked out: its text is read.
            book = load_workbook(stream, read_only=True, data_only=False)
        page = book.worksheets[0]
        page.reset_dimensions()  # what a file says of its size may be wrong
        rows = page.iter_rows(values_only=True)
    header: list[str] | None = None
    seen = False
    line = 0
    try:
        while True:
            with _workbook_errors(file):
                cells = next(rows, None)
            if cells is None:
                break
            line += 1
            if line > _EXCEL_ROWS or len(cells) > _COLUMNS:
                what = f"more than {_EXCEL_ROWS:,} rows" if line > _EXCEL_ROWS else f"more than {_COLUMNS:,} columns"
                raise HoldfastError(f"the sheet has {what}", file=file, line=line)
            if header is None:
                names = ["" if name is None else str(name) for name in cells]
                if not any(names):
                    raise HoldfastError("the first sheet has no header", file=file, line=line)
                header = _header(names, file, line)
                continue
            row = {name: _cell(cell) for name, cell in zip(header, cells, strict=False) if name}
            if any(value is not None for value in row.values()):
                seen = True
                yield line, _uncut({name: row.get(name) for name in header if name})
    finally:
        book.close()
    if not seen:
        raise HoldfastError("the first sheet has no rows" if header else "the first sheet is empty", file=file)


@contextmanager
def _workbook_errors(file: Path) -> Iterator[None]:
    """A broken workbook raises a dozen kinds of exceptions; all say the same."""
    try:
        yield
    except (HoldfastError, ImportError, OSError, MemoryError):
        raise
    except Exception as error:
        raise HoldfastError("the file is not a readable xlsx workbook", file=file) from error


def _weigh(stream: BinaryIO, file: Path) -> None:
    """Inflate every part once without keeping it, since openpyxl keeps some whole, and refuse what grows too much."""
    import zipfile  # not for every table

    stored = stream.seek(0, 2)
    stream.seek(0)
    total = 0
    with zipfile.ZipFile(stream) as archive:
        parts = archive.infolist()
        if len(parts) > _PARTS:
            raise HoldfastError(f"the workbook has {len(parts):,} parts", file=file)
        for part in parts:
            with archive.open(part) as content:
                first = True
                while piece := content.read(1 << 18):
                    total += len(piece)
                    within(total, stored, file)
                    if first and (b"<!DOCTYPE" in piece or b"<!ENTITY" in piece):
                        raise HoldfastError("the workbook defines XML entities", file=file)
                    first = False
    stream.seek(0)


def _cell(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)  # Excel keeps whole numbers as floats
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def seekable(stream: BinaryIO) -> BinaryIO:
    """The stream itself where one can go back in it, or its content in memory."""
    return stream if stream.seekable() else BytesIO(stream.read())

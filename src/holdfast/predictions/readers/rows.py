"""Rows of any tabular file, JSON Lines, JSON list, CSV, TSV or xlsx, with the line each stands on."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from holdfast.errors import HoldfastError
from holdfast.predictions.file import json_lines

Row = dict[str, Any]
Kind = Literal["jsonl", "json", "csv", "tsv", "xlsx", "text"]
EXCEL_CELL_LIMIT = 32_767
"""Characters an xlsx cell can hold; a text of exactly this length has been cut."""


def kind_of(path: Path) -> Kind:
    """The kind of a file, by its name and, for JSON, by its content: LLaVA writes whole JSON into ``.jsonl`` files and
    POPE JSON Lines into ``.json`` files.

    Raises:
        HoldfastError: The file is missing, empty or of no known kind.
    """
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    suffix = suffix.lower().removesuffix(".gz")
    if not path.exists():
        raise HoldfastError("the file does not exist", file=path, remedy="check the path")
    if path.stat().st_size == 0:
        raise HoldfastError("the file is empty", file=path, remedy="check that the prediction has run")
    if suffix in (".csv", ".tsv", ".xlsx"):
        return suffix[1:]  # type: ignore[return-value]
    if suffix == ".txt":
        return "text"
    if suffix not in (".json", ".jsonl", ".jsonlines", ".ndjson"):
        raise HoldfastError(
            f"a file ending in '{suffix}' is of no known kind",
            file=path,
            remedy="known: .jsonl, .json, .csv, .tsv, .xlsx, and .txt of MME",
        )
    with _open(path) as stream:
        first = next((line for line in stream if line.strip()), b"").strip()
        more = next((line for line in stream if line.strip()), b"")
    if not first.startswith(b"{"):
        return "json"
    try:
        json.loads(first)
    except ValueError:
        return "json" if suffix == ".json" or len(first) < 3 else "jsonl"
    return "jsonl" if more or suffix != ".json" else "json"


def rows_of(path: Path, kind: Kind) -> Iterator[tuple[int, Row]]:
    """The rows of a file as mappings with their one-based lines (for a JSON list: positions).

    Raises:
        HoldfastError: The file is broken; the error names the line.
    """
    if kind == "jsonl":
        return json_lines(path)
    if kind == "json":
        content = whole_json(path)
        if not isinstance(content, list):
            raise HoldfastError("the JSON file is neither a list of items nor a known result file", file=path)
        return _entries(content, path)
    if kind == "xlsx":
        return _sheet(path)
    return _delimited(path, "\t" if kind == "tsv" else ",")


def whole_json(path: Path) -> Any:
    """The content of a JSON file, gzipped or not.

    Raises:
        HoldfastError: It is not JSON; the error names the line.
    """
    try:
        with _open(path) as stream:
            return json.loads(stream.read().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise HoldfastError("the file does not exist", file=path, remedy="check the path") from error
    except UnicodeDecodeError as error:
        raise HoldfastError("the file is not UTF-8 text", file=path) from error
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith("Unterminated")
        what = "the file is cut off" if cut else f"not JSON ({error.msg})"
        raise HoldfastError(what, file=path, line=error.lineno) from error
    except (OSError, EOFError, RecursionError) as error:
        raise HoldfastError(f"the file cannot be read ({error})", file=path) from error


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _entries(content: list[Any], path: Path) -> Iterator[tuple[int, Row]]:
    if not content:
        raise HoldfastError("the file is empty", file=path, remedy="check that the prediction has run")
    for number, entry in enumerate(content, start=1):
        if not isinstance(entry, dict):
            raise HoldfastError(f"entry {number} of the list is not an object", file=path)
        yield number, entry


def _delimited(path: Path, delimiter: str) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(2**31 - 1)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise HoldfastError("the file is not UTF-8 text", file=path) from error
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    seen = False
    try:
        for row in reader:
            if None in row:
                raise HoldfastError("the row has more cells than the header", file=path, line=reader.line_num)
            if None in row.values():
                raise HoldfastError("the row has fewer cells than the header", file=path, line=reader.line_num)
            seen = True
            yield reader.line_num, dict(row)
    except csv.Error as error:
        raise HoldfastError(f"the table is broken ({error})", file=path, line=reader.line_num) from error
    if not seen:
        raise HoldfastError("the table has no rows", file=path)


def _sheet(path: Path) -> Iterator[tuple[int, Row]]:
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # a broken archive raises half a dozen kinds
        raise HoldfastError("the file is not a readable xlsx workbook", file=path) from error
    try:
        lines = book.worksheets[0].iter_rows(values_only=True)
        header = next(lines, None)
        if not header or all(name is None for name in header):
            raise HoldfastError("the first sheet has no header", file=path, line=1)
        names = ["" if name is None else str(name) for name in header]
        seen = False
        for number, cells in enumerate(lines, start=2):
            row = {name: _cell(cell) for name, cell in zip(names, cells, strict=False) if name}
            if all(value is None for value in row.values()):
                continue
            for name, value in row.items():
                if isinstance(value, str) and len(value) >= EXCEL_CELL_LIMIT:
                    raise HoldfastError(
                        f"the cell '{name}' is cut at {EXCEL_CELL_LIMIT:,} characters",
                        file=path,
                        line=number,
                        item=str(row.get("index", row.get("id", ""))) or None,
                        remedy="have the tool write tsv or JSON, which do not cut",
                    )
            seen = True
            yield number, row
        if not seen:
            raise HoldfastError("the first sheet has no rows", file=path)
    finally:
        book.close()


def _cell(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)  # Excel keeps whole numbers as floats
    return value

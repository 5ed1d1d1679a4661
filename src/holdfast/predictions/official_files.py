"""Reading official files strictly: JSON, JSON Lines, CSV and TSV, gzipped or not, with the line of every mistake."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from holdfast.errors import HoldfastError

CELL_LIMIT = 32_767
"""Excel cuts a cell here, and so do tables that passed through it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file; ``line`` is its one-based line where the format has lines."""

    record: dict[str, Any]
    line: int | None = None


def read_text(path: Path) -> str:
    """The file's text; gzip is recognised by its first bytes.

    Raises:
        HoldfastError: Where the file is missing, a folder, cut off or not UTF-8.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise HoldfastError("the file does not exist", file=path) from None
    except IsADirectoryError:
        raise HoldfastError("this is a folder, and a file is needed here", file=path) from None
    except (OSError, EOFError) as error:
        raise HoldfastError(f"the file cannot be read ({error})", file=path) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise HoldfastError("the text is not UTF-8", file=path, line=line) from None


def read_json(path: Path) -> Any:
    """The value of a JSON file of references; for JSON Lines the list of its objects."""
    content = read(path, unique=False)
    return [row.record for row in content] if isinstance(content, list) else content


def read(path: Path, *, unique: bool = True) -> dict[str, Any] | list[Row]:
    """A JSON object as it is, and anything that lists records as rows.

    A list of JSON values, JSON Lines (whatever the file is called), CSV and TSV give rows. Values that are not objects
    are refused.

    Args:
        path: The file.
        unique: Look for keys that come twice in one JSON object; this triples the time a large file takes.
    """
    text = read_text(path)
    name = path.name.removesuffix(".gz").lower()
    if name.endswith((".csv", ".tsv")):
        return list(_table(path, text, "\t" if name.endswith(".tsv") else ","))
    if not text.strip():
        raise HoldfastError("the file is empty", file=path)
    try:
        hook = _Unique(path) if unique else None
        value = json.loads(text, object_pairs_hook=hook, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        first = text.lstrip().split("\n", 1)[0].strip()
        if not name.endswith(".jsonl") and not _is_object(first):
            problem = "the file ends in the middle of a value" if error.pos >= len(text.rstrip()) else error.msg
            raise HoldfastError(f"this is not valid JSON: {problem}", file=path, line=error.lineno) from None
        return list(_lines(path, text))
    except _NotANumber as error:
        line = next((n for n, row in enumerate(text.split("\n"), 1) if error.token in row), None)
        raise HoldfastError(f"{error.token} is not a value", file=path, line=line) from None
    if isinstance(value, list):
        return [Row(_object(path, record, f"entry {at}"), None) for at, record in enumerate(value, start=1)]
    if isinstance(value, dict) and name.endswith(".jsonl") and "\n" not in text.strip():
        return [Row(value, 1)]
    return _object(path, value, "the file")


def read_rows(path: Path) -> list[Row]:
    """As :func:`read`, where only rows will do; one JSON object is one row."""
    content = read(path)
    if isinstance(content, dict):
        # JSON Lines of a single line look like this, whatever the file is called.
        return [Row(content, 1)]
    return content


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=str), dict)
    except json.JSONDecodeError:
        return False


def _lines(path: Path, text: str) -> Iterator[Row]:
    rows = text.split("\n")
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            value = json.loads(row, object_pairs_hook=_Unique(path, number), parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            cut = number == len(rows) or not "".join(rows[number:]).strip()
            problem = "the line is cut off" if cut else f"the line is not valid JSON: {error.msg}"
            raise HoldfastError(problem, file=path, line=number) from None
        except _NotANumber as error:
            raise HoldfastError(f"{error.token} is not a value", file=path, line=number) from None
        yield Row(_object(path, value, "the line", number), number)


def _table(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    # MMBench tables hold images as base64, far beyond the reader's usual limit of 131,072 characters.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for record in reader:
            if None in record or None in record.values():
                raise HoldfastError("the row has not as many cells as the header", file=path, line=reader.line_num)
            for column, cell in record.items():
                if len(cell) == CELL_LIMIT:
                    raise HoldfastError(
                        f"the cell '{column}' has exactly {CELL_LIMIT} characters, where Excel cuts",
                        file=path,
                        line=reader.line_num,
                        remedy="export JSON Lines instead",
                    )
            yield Row(dict(record), reader.line_num)
    except csv.Error as error:
        raise HoldfastError(f"this is no valid table: {error}", file=path, line=reader.line_num) from None


def _object(path: Path, value: object, what: str, line: int | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HoldfastError(f"{what} is a {type(value).__name__}, not a JSON object", file=path, line=line)
    return value


class _NotANumber(Exception):  # noqa: N818
    def __init__(self, token: str) -> None:
        self.token = token


def _refuse_constant(token: str) -> NoReturn:
    raise _NotANumber(token)


class _Unique:
    """Builds JSON objects and refuses a key that comes twice, which json would silently overwrite."""

    def __init__(self, path: Path, line: int | None = None) -> None:
        self.path, self.line = path, line

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for at, key in enumerate(keys) if key in keys[:at])
            raise HoldfastError("the key comes twice in one JSON object", file=self.path, line=self.line, item=twice)
        return made


def as_text(value: object, path: Path, line: int | None, item: str) -> str | None:
    """A prediction as text: strings stay, numbers are written out, null is missing.

    Raises:
        HoldfastError: On NaN, a boolean, a list or an object.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    what = "NaN or infinite" if isinstance(value, float) else f"a {type(value).__name__}, not text"
    raise HoldfastError(f"the prediction is {what}", file=path, line=line, item=item)

"""Records of any form, JSON Lines, a JSON list, CSV, TSV or xlsx, each with the line it stands on."""

from __future__ import annotations

import ast
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from holdfast.errors import HoldfastError
from holdfast.files import json_text, tables
from holdfast.files.content import PEEK, all_of, as_text, decoded, open_content, read_text, reading, refuse_wide
from holdfast.files.json_text import Mistake
from holdfast.files.tables import Entry
from holdfast.values import JSON

Form = Literal["json", "jsonl", "csv", "tsv", "xlsx", "text"]
"""``json`` is one value (a list of records too), ``text`` anything that is none of the others."""

_BY_NAME: dict[str, Form] = {".csv": "csv", ".tsv": "tsv", ".txt": "text"}
_LINES = (".jsonl", ".jsonlines", ".ndjson")
_ZIP = b"PK\x03\x04"
_BRACKETS = 1 << 12
"""Brackets of a text that Python is asked to read."""
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_NOTHING = frozenset(("nan", "null", "inf", "infinity"))
_WRITTEN_TEXT = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_NUMPY_LIST = re.compile(rf"\[\s*(?:{_WRITTEN_TEXT.pattern})(?:\s+(?:{_WRITTEN_TEXT.pattern}))+\s*\]", re.DOTALL)
_NUMPY_ARRAY = re.compile(r"array\((\[.*\])(?:,\s*dtype=[\w<>|']+)?\)", re.DOTALL)

_ELSEWHERE = {
    ".pkl": "a pickle may run code and is never opened; have what wrote it write xlsx, tsv or json",
    ".parquet": "a table of examples is read by tune and data check; write predictions as JSON Lines",
    ".tar": "unpack it, and write one file with a line an item",
    ".zip": "unpack it, and name the file inside",
    ".yaml": "a mixture of data sets goes into the recipe: one file that it lists as data, the others in mix",
    ".eval": "write inspect_ai's log as JSON: inspect log convert FILE --to json --output-dir FOLDER",
}
"""What to do about endings that people try."""
_KINDS = {type(None): "null", str: "a text", list: "a list", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        line: One-based line on which it begins.
        values: Its fields.
    """

    line: int
    values: JSON


def form_of(path: str | Path) -> Form:
    """What a file holds. The content decides between JSON and JSON Lines (LLaVA writes whole JSON into ``.jsonl``
    files, POPE JSON Lines into ``.json`` files) and tells a workbook; the name tells tables and text.

    Raises:
        HoldfastError: Missing, empty, unreadable, a pipe, or of no known form.
    """
    file = Path(path)
    with reading(file):
        if file.is_fifo():  # what is looked at here is gone when it is to be read
            raise HoldfastError(
                "this is a pipe, and records are looked at before they are read",
                file=file,
                remedy="write it into a file, and name that",
            )
        with open_content(file) as stream:
            return _form(stream, file)


def records(path: str | Path, *, nan_is_none: bool = False) -> Iterator[Record]:
    """Every record of a file; JSON Lines, CSV, TSV and xlsx are read as they are asked for.

    A JSON object that fills its file is one record.

    Args:
        path: The file, gzipped or not.
        nan_is_none: Read NaN in JSON as missing, for layouts that are known to hold it; Infinity is refused always.

    Raises:
        HoldfastError: Anything wrong with the file or one of its records, with the line.
    """
    return _strict(scan(path, nan_is_none=nan_is_none), Path(path))


def _strict(entries: Iterable[Entry], file: Path) -> Iterator[Record]:
    for line, entry in entries:
        if isinstance(entry, HoldfastError):
            raise HoldfastError(entry.problem, file=file, line=line, item=entry.item, remedy=entry.remedy)
        yield Record(line, entry)


def read(path: str | Path, *, nan_is_none: bool = False) -> JSON | list[Record]:
    """A JSON object that fills its file as it is, and anything else as a list of records.

    Raises:
        HoldfastError: As :func:`records`.
    """
    file = Path(path)
    with reading(file), open_content(file) as stream:
        found = _content(stream, file, nan_is_none)
        return found if isinstance(found, dict) else list(_strict(found, file))


def read_json(path: str | Path, *, nan_is_none: bool = False) -> Any:
    """The value of a JSON file, whatever it is called; of JSON Lines the list of its objects.

    Raises:
        HoldfastError: Missing, unreadable, or no JSON, with the line.
    """
    file = Path(path)
    text = read_text(file)
    try:
        if not text.lstrip().startswith("{"):
            return json_text.whole_value(_nonempty(text, file), nan_is_none=nan_is_none)
        value = _value_or_lines(text, file, nan_is_none)
    except Mistake as mistake:
        raise _no_json(mistake, file) from None
    return value if isinstance(value, dict) else [record.values for record in _strict(value, file)]


def parse_json(
    text: str, *, file: str | Path | None = None, line: int = 1, item: str | None = None, nan_is_none: bool = False
) -> Any:
    """The value of a JSON text that stands inside another file, such as a list in a cell.

    Args:
        text: The JSON.
        file: Where it stands, for messages.
        line: Line of the file on which it begins.
        item: Of the file, for messages.
        nan_is_none: As in :func:`records`.

    Raises:
        HoldfastError: It is no JSON.
    """
    try:
        return json_text.whole_value(text, nan_is_none=nan_is_none)
    except Mistake as mistake:
        at = line + mistake.line - 1
        raise HoldfastError(f"bad JSON: {mistake.problem}", file=file, line=at, item=item or mistake.item) from None


def parse_written(text: str, *, longest: int) -> Any:
    """A list or object written as text, by JSON or by Python (``['a', 'b']``); ``None`` where it is neither.

    Args:
        text: What stands in a cell or a field.
        longest: Letters beyond which it is not tried.
    """
    if len(text) > longest or text.count("[") + text.count("{") + text.count("(") > _BRACKETS:
        return None
    try:
        return json_text.whole_value(text)
    except Mistake:
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(_PythonValue().visit(ast.parse(text.strip(), mode="eval")))
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


class _PythonValue(ast.NodeTransformer):
    """What Python and JSON write for nothing becomes ``None``, and a set is a list in its order."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(None) if node.id.lower() in _NOTHING else node

    def visit_Set(self, node: ast.Set) -> ast.expr:
        return ast.List([self.visit(one) for one in node.elts], ast.Load())


def parse_list(text: str, *, longest: int) -> list[Any] | None:
    """A list written as text by JSON, by Python (a tuple and a set too) or by NumPy (``['a' 'b']``); ``None`` where the
    text is none. In round and curly brackets only texts are a list: ``(1, 2)`` is a point.

    Args:
        text: What stands in a cell or a field.
        longest: Letters beyond which it is not tried.
    """
    bare = text.strip()
    kind = bare[:1] + bare[-1:]
    if kind not in ("[]", "()", "{}", "a)") or len(bare) > longest:
        return None
    if found := _NUMPY_ARRAY.fullmatch(bare):
        bare, kind = found[1], "[]"
    elif kind == "a)":
        return None
    if _NUMPY_LIST.fullmatch(bare):
        # To Python these are one text in several pieces.
        return [ast.literal_eval(one) for one in _WRITTEN_TEXT.findall(bare)]
    value = parse_written(bare, longest=longest)
    if not isinstance(value, list | tuple):
        return None
    return list(value) if kind == "[]" or (value and all(isinstance(one, str) for one in value)) else None


def scan(path: str | Path, *, nan_is_none: bool = False) -> Iterator[Entry]:
    """As :func:`records`, where one that cannot be used comes as the error that says why, so that the rest is read.

    Yields:
        The line and the record, or an error without file and line.

    Raises:
        HoldfastError: The file itself cannot be read, or nothing in it from some line on.
    """
    file = Path(path)
    with reading(file), open_content(file) as stream:
        found = _content(stream, file, nan_is_none)
        yield from [(1, found)] if isinstance(found, dict) else found


def _content(stream: io.BufferedReader, file: Path, nan: bool) -> JSON | Iterator[Entry]:
    """The JSON object that fills a file, or its records."""
    form = _form(stream, file)
    if form == "jsonl":
        return _json_lines(decoded(stream, file), file, nan)
    if form in ("csv", "tsv"):
        return tables.delimited(decoded(stream, file), "\t" if form == "tsv" else ",", file)
    if form == "xlsx":
        return tables.sheet(tables.seekable(stream), file)
    if form == "text":
        raise HoldfastError("this is plain text, and records are needed here", file=file)
    return _value_or_lines(as_text(all_of(stream, file), file), file, nan)


def _form(stream: io.BufferedReader, file: Path) -> Form:
    start = stream.peek(PEEK)
    if not start:
        raise HoldfastError("the file is empty", file=file, remedy="check that what writes it has run")
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if start.startswith(_ZIP) and suffix in (".zip", ".eval"):
        raise HoldfastError("the file is an archive", file=file, remedy=_ELSEWHERE[suffix])
    if start.startswith(_ZIP) or suffix == ".xlsx":
        return "xlsx"
    if start.startswith(_OLD_EXCEL):
        raise HoldfastError("this is a workbook of the old kind (.xls)", file=file, remedy="save it as xlsx")
    refuse_wide(start, file)
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if suffix in _BY_NAME and not (suffix == ".txt" and start.startswith((b"{", b"["))):
        return _BY_NAME[suffix]
    if suffix not in (".json", *_LINES) and not start.startswith((b"{", b"[")):
        raise HoldfastError(
            f"a file ending in '{suffix}' is of no known form" if suffix else "the file is of no known form",
            file=file,
            remedy=_ELSEWHERE.get(suffix, "known: .jsonl, .json, .csv, .tsv, .xlsx and .txt, gzipped or not"),
        )
    if not start.startswith(b"{"):
        return "json" if suffix not in _LINES or start.startswith(b"[") or not start else "jsonl"
    return _lines_or_whole(start, suffix in _LINES)


def _lines_or_whole(start: bytes, named_lines: bool) -> Form:
    """Whether what begins with ``{`` is JSON Lines or one object, from as much of it as can be peeked at."""
    first, end, rest = start.partition(b"\n")
    if not end:
        return "jsonl" if named_lines else "json"
    try:
        json_text.whole_value(first.decode("utf-8"))
    except Mistake as mistake:
        # A line that is JSON and refused for another reason is a line; "{" alone begins an object over many lines.
        if mistake.broken:
            alone = len(first.strip()) <= 2 and not rest.lstrip().startswith(b"{")
            return "jsonl" if named_lines and not alone else "json"
    except UnicodeDecodeError:
        pass
    return "jsonl" if named_lines or rest.strip() else "json"


def _value_or_lines(text: str, file: Path, nan: bool) -> JSON | Iterator[Entry]:
    """The object that fills a text, or the entries of its list or lines."""
    if not _nonempty(text, file).lstrip().startswith("{"):
        return _json_list(text, file, nan)
    try:
        value, end = json_text.value_at(text, len(text) - len(text.lstrip()), nan_is_none=nan)
    except Mistake as mistake:
        raise _no_json(mistake, file) from None
    if text[end:].lstrip().startswith("{"):
        # Lines whose first is longer than can be peeked at.
        return _json_lines(enumerate(text.splitlines(keepends=True), start=1), file, nan)
    if not text[end:].isspace() and end < len(text):
        line = text.count("\n", 0, end) + 1
        raise HoldfastError("something follows after the JSON object", file=file, line=line)
    return cast("JSON", value)


def _json_lines(lines: Iterable[tuple[int, str]], file: Path, nan: bool) -> Iterator[Entry]:
    seen = False
    for line, text in lines:
        if text.isspace():
            continue
        seen = True
        try:
            value = json_text.whole_value(text, nan_is_none=nan)
        except Mistake as mistake:
            what, remedy = "the line is not valid JSON: " if mistake.broken else "", _remedy(mistake, "line")
            told = HoldfastError(what + mistake.problem, item=mistake.item, remedy=remedy)
            if mistake.broken and not text.endswith("\n"):
                cut = "the last line is cut off, so the file was not written to its end"
                told = HoldfastError(cut, remedy="let what writes it finish, or delete that line")
            yield line, told
        else:
            yield line, _object(value, "the line")
    if not seen:
        raise HoldfastError("the file is empty", file=file, remedy="check that what writes it has run")


def _json_list(text: str, file: Path, nan: bool) -> Iterator[Entry]:
    try:
        if not text.lstrip().startswith("["):
            yield 1, _object(json_text.whole_value(text, nan_is_none=nan), "the file")
            return
        entries = 0
        for entries, (line, value) in enumerate(json_text.list_entries(text, nan_is_none=nan), start=1):
            if isinstance(value, Mistake):
                yield line, HoldfastError(value.problem, item=value.item, remedy=_remedy(value, "entry"))
            else:
                yield line, _object(value, f"entry {entries}")
    except Mistake as mistake:
        raise _no_json(mistake, file) from None
    if not entries:
        raise HoldfastError("the list in the file is empty", file=file, remedy="check that what writes it has run")


def _remedy(mistake: Mistake, place: str) -> str:
    if mistake.problem.startswith("NaN"):
        return f"mend the {place}: write null, where pandas wrote NaN for an empty cell"
    return f"mend the {place}"


def _object(value: Any, what: str) -> JSON | HoldfastError:
    if isinstance(value, dict):
        return cast("JSON", value)
    kind = _KINDS.get(type(value), "a number")
    return HoldfastError(f"{what} is {kind}, not a JSON object", remedy="write one {...} an item")


def _no_json(mistake: Mistake, file: Path) -> HoldfastError:
    what = "this is not valid JSON: " if mistake.broken else ""
    remedy = "copy or download it again" if mistake.cut else None
    return HoldfastError(what + mistake.problem, file=file, line=mistake.line, item=mistake.item, remedy=remedy)


def _nonempty(text: str, file: Path) -> str:
    if not text or text.isspace():
        raise HoldfastError("the file is empty", file=file, remedy="check that what writes it has run")
    return text

"""JSON records with their lines, from JSON Lines or a JSON list; what cannot be parsed is said, not raised."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError


def read_records(file: Path) -> Iterator[tuple[int, str, dict[str, Any] | HoldfastError]]:
    """Each record of a JSON Lines file or a JSON list: its one-based line, a name for it, and what stands there.

    A record that cannot be used comes as the error that says why, so that the rest can still be read.

    Raises:
        HoldfastError: The file is missing or not UTF-8, or a JSON list is broken.
    """
    text = _text(file)
    is_list = text.lstrip().startswith("[")
    records = _list_items(text, file) if is_list else _rows(text)
    for position, (line, record) in enumerate(records, start=1):
        name = f"item-{position}" if is_list else f"line-{line}"
        if isinstance(record, HoldfastError):
            yield line, name, record
        elif not isinstance(record, dict):
            yield line, name, HoldfastError("the item is not a JSON object", remedy="write one {...} an item")
        elif not _is_unicode(record):
            yield line, name, HoldfastError("a text holds half a surrogate pair", remedy="write the character itself")
        else:
            yield line, name, record


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise HoldfastError("the data file does not exist", file=file, remedy="check the path") from error
    except IsADirectoryError as error:
        raise HoldfastError("a folder stands where a data file is expected", file=file) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise HoldfastError("the file is not UTF-8 text", file=file, line=line, remedy="save it as UTF-8") from error
    except OSError as error:
        raise HoldfastError(f"the file cannot be read: {error.strerror}", file=file) from error


def _rows(text: str) -> Iterator[tuple[int, Any]]:
    for line, row in enumerate(text.split("\n"), start=1):
        if row.strip():
            try:
                yield line, json.loads(row)
            except (ValueError, RecursionError) as error:
                yield line, _bad_json(error)


def _list_items(text: str, file: Path) -> Iterator[tuple[int, Any]]:
    decoder, space = json.JSONDecoder(), re.compile(r"[ \t\n\r]*")
    place, line, counted = text.index("[") + 1, 1, 0
    while True:
        place = _after(space, text, place)
        line, counted = line + text.count("\n", counted, place), place
        if text[place : place + 1] == "]":
            break
        try:
            item, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            problem = _bad_json(error)
            at = error.lineno if isinstance(error, json.JSONDecodeError) else line
            raise HoldfastError(problem.problem, file=file, line=at, remedy=problem.remedy) from error
        yield line, item
        place = _after(space, text, place)
        if text[place : place + 1] not in (",", "]"):
            raise HoldfastError(
                "bad JSON: the list of items is cut off or lacks a comma", file=file,
                line=text.count("\n", 0, place) + 1, remedy="mend the file",
            )  # fmt: skip
        place += text[place] == ","


def _after(space: re.Pattern[str], text: str, place: int) -> int:
    found = space.match(text, place)
    return place if found is None else found.end()


def _bad_json(error: Exception) -> HoldfastError:
    if isinstance(error, json.JSONDecodeError):
        return HoldfastError(f"bad JSON: {error.msg} at column {error.colno}", remedy="mend the line")
    what = "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
    return HoldfastError(f"bad JSON: {what}", remedy="mend the line")


def _is_unicode(record: dict[str, Any]) -> bool:
    """Whether every text can be written again: JSON may hold lone surrogates, UTF-8 may not."""
    try:
        json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

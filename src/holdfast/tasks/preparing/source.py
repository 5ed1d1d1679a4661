"""The folder of an official download: finding its files, reading them strictly, naming what is missing."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.tasks.cards import Card


class Source:
    """Reads below ``root`` and never outside it."""

    def __init__(self, root: Path, card: Card) -> None:
        if not root.is_dir():
            raise HoldfastError(f"{root} is not a folder", remedy="give --from the folder of the official download")
        self.root, self.card = root.resolve(), card

    def file(self, *names: str) -> Path:
        """The first of ``names`` that is a file, as it is or gzipped.

        Raises:
            HoldfastError: None is there, or a link leads out of the folder.
        """
        for name in names:
            for path in (self.root / name, self.root / f"{name}.gz"):
                if path.is_file():
                    if not path.resolve().is_relative_to(self.root):
                        raise HoldfastError(f"'{name}' is a link that leaves the folder", file=self.root)
                    return path
        raise self.missing(" or ".join(f"'{name}'" for name in names))

    def folder(self, *names: str) -> str:
        """The first of ``names`` (``.`` is the root) that is a folder inside the root.

        Raises:
            HoldfastError: None is there.
        """
        for name in names:
            path = self.root / name
            if path.is_dir() and path.resolve().is_relative_to(self.root):
                return name
        raise self.missing(" or ".join(f"the folder '{name}'" for name in names))

    def missing(self, what: str, *, item: str | None = None) -> HoldfastError:
        """The error for an absent file, with the tree that is expected."""
        tree = "; ".join(self.card.origin.tree)
        return HoldfastError(f"{what} is missing", file=self.root, item=item, remedy=f"expected there: {tree}")


def read_text(file: Path) -> str:
    """The file's text; gzip is recognised by its first bytes.

    Raises:
        HoldfastError: It cannot be read, is cut off, or is not UTF-8.
    """
    try:
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HoldfastError("the text is not UTF-8", file=file) from error
    except (OSError, EOFError) as error:
        raise HoldfastError(f"the file cannot be read ({error})", file=file) from error


def read_json(file: Path) -> Any:
    """The value of a JSON file.

    Raises:
        HoldfastError: Bad or truncated JSON, with its line.
    """
    text = read_text(file)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip())
        what = "it ends in the middle of a value" if cut else error.msg
        raise HoldfastError(f"bad JSON: {what}", file=file, line=error.lineno, remedy="download it again") from error
    except (ValueError, RecursionError) as error:
        raise HoldfastError(f"bad JSON: {error}", file=file, remedy="download it again") from error


def read_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSON Lines file with their one-based lines; a JSON list is taken too.

    Raises:
        HoldfastError: A line that is no JSON object.
    """
    text = read_text(file)
    if text.lstrip().startswith("["):
        yield from enumerate(read_records(file, None), start=1)
        return
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            value = json.loads(row)
        except (ValueError, RecursionError) as error:
            cut = "the line is cut off" if not text.endswith("\n") else "bad JSON"
            raise HoldfastError(cut, file=file, line=line, remedy="download the file again") from error
        if not isinstance(value, dict):
            raise HoldfastError("the line is not a JSON object", file=file, line=line)
        yield line, value


def read_records(file: Path, key: str | None) -> list[dict[str, Any]]:
    """A JSON list of objects, at the top or under ``key``.

    Raises:
        HoldfastError: There is no such list, or an entry is no object.
    """
    content = read_json(file)
    if key is not None:
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, list):
        where = f" under '{key}'" if key else ""
        raise HoldfastError(f"the file holds no list of records{where}", file=file, remedy="is it another file?")
    for number, record in enumerate(content, start=1):
        if not isinstance(record, dict):
            raise HoldfastError(f"entry {number} is not a JSON object", file=file)
    return content


def read_objects(file: Path) -> dict[str, dict[str, Any]]:
    """A JSON object of objects by id.

    Raises:
        HoldfastError: Any other content.
    """
    content = read_json(file)
    if not isinstance(content, dict):
        raise HoldfastError("the file is not one JSON object by id", file=file, remedy="is it another file?")
    for key, record in content.items():
        if not isinstance(record, dict):
            raise HoldfastError("the entry is not a JSON object", file=file, item=key)
    return content


def take(record: Mapping[str, Any], name: str, *, file: Path, item: str | None = None, line: int | None = None) -> Any:
    """The value of a field.

    Raises:
        HoldfastError: The record has no such field.
    """
    if record.get(name) is None:
        raise HoldfastError(f"field '{name}' is missing", file=file, item=item, line=line)
    return record[name]


def whole(record: Mapping[str, Any], name: str, *, file: Path, item: str | None = None) -> int:
    """A field that must be a whole number, written as one or as text.

    Raises:
        HoldfastError: It is missing or something else.
    """
    value = take(record, name, file=file, item=item)
    try:
        return int(str(value))
    except ValueError:
        raise HoldfastError(f"field '{name}' is {value!r}, not a whole number", file=file, item=item) from None


def listed(record: Mapping[str, Any], name: str, *, file: Path, item: str) -> list[Any]:
    """A field that must be a list.

    Raises:
        HoldfastError: It is missing or something else.
    """
    value = take(record, name, file=file, item=item)
    if not isinstance(value, list):
        raise HoldfastError(f"field '{name}' is not a list", file=file, item=item)
    return value


_NAME = re.compile(r"[\w.-]+")


def safe_part(name: str, *, file: Path, item: str | None = None) -> str:
    """A name that may become part of a path.

    Raises:
        HoldfastError: It holds a slash or climbs.
    """
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise HoldfastError(f"'{name}' cannot name a file", file=file, item=item)
    return name

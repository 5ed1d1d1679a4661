"""The folder of an official download: finding its files, taking fields from their records, naming what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.tasks.cards import TaskCard
from holdfast.values import JSON


class Source:
    """Reads below ``root`` and never outside it."""

    def __init__(self, root: Path, card: TaskCard) -> None:
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


def read_records(file: Path, key: str | None) -> list[JSON]:
    """A list of JSON objects, at the top (or one a line) or under ``key``.

    Raises:
        HoldfastError: There is no such list, or an entry is no object.
    """
    content: Any = files.read(file)
    if key is None and isinstance(content, list):
        return [record.values for record in content]
    content = content.get(key) if key is not None and isinstance(content, dict) else None
    if not isinstance(content, list):
        where = f" under '{key}'" if key else ""
        raise HoldfastError(f"the file holds no list of records{where}", file=file, remedy="is it another file?")
    for number, record in enumerate(content, start=1):
        if not isinstance(record, dict):
            raise HoldfastError(f"entry {number} is not a JSON object", file=file)
    return content


def read_objects(file: Path) -> dict[str, JSON]:
    """A JSON object of objects by id.

    Raises:
        HoldfastError: Any other content.
    """
    content = files.read_json(file)
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

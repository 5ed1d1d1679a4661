"""The folder of an official download: finding its files, taking fields from their records, naming what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast import files
from holdfast.errors import HoldfastError

if TYPE_CHECKING:  # cards need pydantic, and whoever reads references for a score does without it
    from holdfast.tasks.cards import TaskCard

_NAME = re.compile(r"[\w.-]+")


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

    def below(self, *names: str) -> str:
        """What stands in front of the names of files in such a folder: ``images/``, or nothing for the root.

        Raises:
            HoldfastError: As :meth:`folder`.
        """
        name = self.folder(*names)
        return "" if name == "." else f"{name}/"

    def missing(self, what: str, *, item: str | None = None) -> HoldfastError:
        """The error for an absent file, with the tree that is expected."""
        return HoldfastError(f"{what} is missing", file=self.root, item=item, remedy=self.expected)

    @property
    def expected(self) -> str:
        """The tree that should be there, in words."""
        return f"expected there: {'; '.join(self.card.origin.tree)}"


@dataclass(frozen=True, slots=True)
class Fields:
    """A record of an official file that knows where it stands, so that every mistake in it is told with the place.

    Attributes:
        file: The file.
        values: The fields.
        line: The line, where the form of the file tells it.
        item: Id of the item, once it is known.
    """

    file: Path
    values: Mapping[str, Any]
    line: int | None = None
    item: str = ""

    def named(self, item: str) -> Fields:
        """The same record under the id of its item."""
        return replace(self, item=item)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field that may be absent."""
        return self.values.get(name, default)

    def words(self, name: str) -> str:
        """The text of a field that may be absent."""
        value = self.values.get(name)
        return "" if value is None else str(value)

    def take(self, name: str) -> Any:
        """The value of a field that must be there, as it must for all that follow."""
        if self.values.get(name) is None:
            raise self.fault(f"field '{name}' is missing")
        return self.values[name]

    def text(self, name: str) -> str:
        """A field as text."""
        return str(self.take(name))

    def whole(self, name: str) -> int:
        """A whole number, written as one or as text."""
        value = self.take(name)
        try:
            return int(str(value))
        except ValueError:
            raise self.fault(f"field '{name}' is {value!r}, not a whole number") from None

    def listed(self, name: str) -> list[Any]:
        """A list."""
        value = self.take(name)
        if not isinstance(value, list):
            raise self.fault(f"field '{name}' is not a list")
        return value

    def answers(self) -> list[str]:
        """The annotators' answers of a question, texts or objects that hold one."""
        given = self.get("answers")
        if not isinstance(given, list) or not given:
            raise self.fault("the question has no answers, as test splits have none")
        return [str(one.get("answer", one)) if isinstance(one, dict) else str(one) for one in given]

    def answer(self) -> str:
        """The one answer of a question."""
        if self.get("answer") is None:
            raise self.fault("the question has no answer, as test splits have none")
        return str(self.values["answer"])

    def index(self, options: int) -> int:
        """The number of the right option, in the field ``answer``."""
        answer = self.take("answer")
        if type(answer) is not int or not 0 <= answer < options:
            raise self.fault(f"the answer {answer!r} is no index of the {options} choices")
        return answer

    def safe(self, name: str) -> str:
        """A name that may become part of a path: without a slash, and not climbing."""
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise self.fault(f"'{name}' cannot name a file")
        return name

    def fault(self, problem: str) -> HoldfastError:
        """The error with the place of the record."""
        return HoldfastError(problem, file=self.file, line=self.line, item=self.item or None)


def read_records(file: Path, *under: str | None, named: str | None = None) -> list[Fields]:
    """A list of JSON objects.

    Args:
        file: The file.
        under: Where the list may stand: names in the object that fills the file, ``None`` for a list at the top (or
            one record a line).
        named: The field that has the item's id.

    Raises:
        HoldfastError: There is no such list, or an entry is no object.
    """
    content: Any = files.read(file)
    if isinstance(content, list) and None in under:
        found = [Fields(file, record.values, record.line) for record in content]
    else:
        held = content if isinstance(content, dict) else {}
        entries = next((held[name] for name in under if name in held), None)
        if not isinstance(entries, list):
            where = next((f" under '{name}'" for name in under if name), "")
            raise HoldfastError(f"the file holds no list of records{where}", file=file, remedy="is it another file?")
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, dict):
                raise HoldfastError(f"entry {number} is not a JSON object", file=file)
        found = [Fields(file, entry) for entry in entries]
    return found if named is None else [record.named(record.text(named)) for record in found]


def read_objects(file: Path, *, nan_is_none: bool = False) -> dict[str, Fields]:
    """A JSON object of objects by id.

    Args:
        file: The file.
        nan_is_none: Read NaN as missing.

    Raises:
        HoldfastError: Any other content.
    """
    return objects_in(files.read_json(file, nan_is_none=nan_is_none), file)


def objects_in(content: Any, file: Path) -> dict[str, Fields]:
    """As :func:`read_objects`, of what a file holds."""
    if not isinstance(content, dict):
        raise HoldfastError("the file is not one JSON object by id", file=file, remedy="is it another file?")
    for key, record in content.items():
        if not isinstance(record, dict):
            raise HoldfastError("the entry is not a JSON object", file=file, item=key)
    return {key: Fields(file, record, item=key) for key, record in content.items()}

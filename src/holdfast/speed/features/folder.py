"""The folder of the cache: one group a model, stage and setting, one file an image set. Needs no torch.

``<folder>/<group>/group.json`` names the group for people; ``<folder>/<group>/<image set>.safetensors`` holds the
features. A file's modification time says when it was last used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import read_json, write_json
from holdfast.files.places import cache_folder, path_of
from holdfast.files.writing import PARTIAL

DEFAULT_CAP = 20_000_000_000
"""Bytes that the cache may take unless the caller says otherwise."""

SUFFIX = ".safetensors"
LOCK = ".lock"
"""Held by the process that counts, makes room and writes."""
_UNFINISHED = (f"*{PARTIAL}", "*.part")
"""Files that are being written, and what earlier versions called them; a killed process leaves one behind."""

_CARD = "group.json"
_PROOF = "proof.json"
_STALE = 3600.0
"""Seconds after which an unfinished file belongs to nobody."""


def default_folder() -> Path:
    """``$HOLDFAST_CACHE``, else ``$XDG_CACHE_HOME/holdfast/features``, else ``~/.cache/holdfast/features``.

    Raises:
        HoldfastError: There is no home.
    """
    named = os.environ.get("HOLDFAST_CACHE")
    if named:
        return path_of(named)
    return cache_folder() / "features"


@dataclass(frozen=True)
class GroupCard:
    """What a group is, for people; nothing is decided by it."""

    model: str
    kind: str
    stage: str
    dtype: str
    transformers: str

    def write(self, group: Path) -> None:
        """Put the card into the group's folder, which is made where it is missing."""
        file = group / _CARD
        if not file.is_file():
            write_json(file, asdict(self))


@dataclass(frozen=True)
class Verification:
    """What was found out about a group's model on its first batch, so that it need not be found out again.

    Attributes:
        rows: Rows of the batch on which features and pixels gave the same; 0 where they were never compared.
        fields: The fields of the features that the forward reads; None where not known.
    """

    rows: int = 0
    fields: tuple[str, ...] | None = None

    @staticmethod
    def read(group: Path) -> Verification:
        """The proof of a group; an empty one where there is none, or none that can be read."""
        try:
            found = read_json(group / _PROOF)
            return Verification(int(found["rows"]), tuple(map(str, found["fields"])) or None)
        except (HoldfastError, ValueError, KeyError, TypeError):
            return Verification()

    def write(self, group: Path) -> None:
        """Put it into the group's folder; where that cannot be written it is found out again next time.

        Fields that are not known, since others had stored all features, are left to who knows them.
        """
        fields = self.fields or Verification.read(group).fields or ()
        with suppress(HoldfastError):
            write_json(group / _PROOF, {"rows": self.rows, "fields": list(fields)})


@dataclass(frozen=True)
class Stored:
    """One file of features: its size in bytes and when it was last used (seconds since 1970)."""

    path: Path
    size: int
    used: float


@dataclass(frozen=True)
class Group:
    """The features of one model at one stage."""

    path: Path
    card: GroupCard
    files: tuple[Stored, ...] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)

    @property
    def used(self) -> float:
        """When one of its files was last used."""
        return max((file.used for file in self.files), default=0.0)


def groups(folder: Path) -> list[Group]:
    """Every group that holds features, the last used first."""
    found = []
    for path in _folders(folder):
        files = tuple(_files(path))
        if files:
            found.append(Group(path, _card(path), files))
    return sorted(found, key=lambda group: -group.used)


def stored(folder: Path) -> list[Stored]:
    """Every file of features, the least recently used first."""
    return sorted((file for path in _folders(folder) for file in _files(path)), key=lambda file: file.used)


def clear(folder: Path, *, older_than: float = 0.0) -> tuple[int, int]:
    """Remove features that were not used for ``older_than`` seconds, and what killed processes left.

    Returns:
        Number of files and of bytes removed. Only files that this room wrote are touched.
    """
    files = freed = 0
    for file in stored(folder):
        if time.time() - file.used >= older_than and remove(file.path):
            files, freed = files + 1, freed + file.size
    sweep(folder, older_than=min(older_than, _STALE))
    for path in _folders(folder):
        if not any(_files(path)):
            with suppress(OSError):  # something else lies in it, or another process has just begun to fill it
                (path / _CARD).unlink(missing_ok=True)
                path.rmdir()
    return files, freed


def remove(path: Path) -> bool:
    """Delete one file; False where another process was faster or the file is not ours to delete."""
    try:
        path.unlink()
    except OSError:
        return False
    return True


def sweep(folder: Path, *, older_than: float = _STALE) -> None:
    """Delete unfinished files that no process can still be writing."""
    for path in _folders(folder):
        for file in (found for pattern in _UNFINISHED for found in path.glob(pattern)):
            with suppress(OSError):
                if time.time() - file.stat().st_mtime >= older_than:
                    file.unlink()


def touch(path: Path) -> None:
    """Note that a file was used now."""
    with suppress(OSError):  # a cache that may only be read is still of use
        os.utime(path)


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        yield from (Path(entry.path) for entry in entries if entry.is_dir() and (Path(entry.path) / _CARD).is_file())


def _files(group: Path) -> Iterator[Stored]:
    with suppress(OSError), os.scandir(group) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                with suppress(OSError):  # gone since the folder was read
                    facts = entry.stat()
                    yield Stored(Path(entry.path), facts.st_size, facts.st_mtime)


def _card(group: Path) -> GroupCard:
    try:
        facts = read_json(group / _CARD)
        return GroupCard(**{name: str(facts[name]) for name in GroupCard.__dataclass_fields__})
    except (HoldfastError, ValueError, KeyError, TypeError):
        return GroupCard("?", "?", "?", "?", "?")

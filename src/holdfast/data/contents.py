"""What a file holds, as a digest; remembered, so that an untouched file is not read again.

Size and times never stand for content where it could differ. A remembered digest is believed only if size, inode,
modification and change time are those of the file, and both times lie :data:`GAP` before the moment at which it was
looked at: an edit within the clock's grain would keep them. ``cp -p`` and ``rsync`` keep the modification time but
cannot keep the change time or the inode. The memory is one SQLite file in the cache folder; where it cannot be used,
files are read.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.errors import HoldfastError
from holdfast.files.places import cache_folder, path_of

GAP = 3_000_000_000
"""Nanoseconds. FAT keeps times to two seconds, and a server's clock may be a little behind."""

MOST = 2_000_000
"""Files remembered (some 200 bytes each); then the half that was looked at longest ago is forgotten."""

_PART = 500
"""Values in one question to the memory."""

_TABLES = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER,
    inode INTEGER, device INTEGER, seen INTEGER, digest BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (digest BLOB, rules TEXT, PRIMARY KEY (digest, rules)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sizes (digest BLOB PRIMARY KEY, width INTEGER, height INTEGER) WITHOUT ROWID;
"""


Size = tuple[int, int]
"""Width and height of the upright picture in pixels."""


class Stamp(NamedTuple):
    """What the file system says of a file, and when it was asked (nanoseconds)."""

    size: int
    modified: int
    changed: int
    inode: int
    device: int
    seen: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Ask now.

        Raises:
            HoldfastError: The file cannot be reached.
        """
        seen = time.time_ns()  # before the file is asked, so that a later change is later than this
        try:
            facts = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_dev, seen)

    @property
    def settled(self) -> bool:
        """Whether a later change of the file would show."""
        return max(self.modified, self.changed) + GAP < self.seen

    def same_file(self, other: Stamp) -> bool:
        """Whether both describe one state of one file."""
        return self[:-1] == other[:-1]


_here: dict[Path, tuple[Stamp, bytes]] = {}
"""What this process has seen; an entry is believed by the same rule as one of the memory."""


def digest(path: Path) -> bytes:
    """Thirty-two bytes that stand for the content of one file."""
    return digests([path])[path]


def digests(paths: Iterable[Path]) -> dict[Path, bytes]:
    """:func:`digest` of many files; those that have to be read are read side by side.

    Raises:
        HoldfastError: A file cannot be read.
    """
    found, open_ = known(paths)
    if open_:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(cores()) as pool:  # reading and hashing let go of the interpreter's lock
            read = list(pool.map(read_digest, open_))
        remember(zip(open_, read, strict=True))
        found |= {path: digest for path, (_, digest) in zip(open_, read, strict=True)}
    return found


def known(paths: Iterable[Path]) -> tuple[dict[Path, bytes], list[Path]]:
    """Digests that may be believed, and the files that have to be read."""
    found: dict[Path, bytes] = {}
    stamps: dict[Path, Stamp] = {}
    for path in paths:
        if path in found or path in stamps:
            continue
        stamp = Stamp.of(path)
        then = _here.get(path)
        if then is not None and then[0].settled and then[0].same_file(stamp):
            found[path] = then[1]
        else:
            stamps[path] = stamp
    for path, (then_stamp, digest) in _recalled(list(stamps)).items():
        if then_stamp.settled and then_stamp.same_file(stamps[path]):
            found[path] = digest
            _here[path] = (then_stamp, digest)
    return found, [path for path in stamps if path not in found]


def read_digest(path: Path) -> tuple[Stamp, bytes]:
    """The digest of the bytes that are there now, and the stamp to remember it by.

    Raises:
        HoldfastError: The file cannot be read.
    """
    stamp = Stamp.of(path)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.blake2b(b"", digest_size=32)).digest()
    except OSError as error:
        raise _unreadable(path, error) from error
    return stamp, found


def read_whole(path: Path) -> tuple[Stamp, bytes, bytes]:
    """The bytes of a file, which is opened once, between the stamp and the digest of :func:`read_digest`.

    Raises:
        HoldfastError: The file cannot be read.
    """
    stamp = Stamp.of(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    return stamp, content, hashlib.blake2b(content, digest_size=32).digest()


def _unreadable(path: Path, error: OSError) -> HoldfastError:
    remedy = "put it back, or take the example out"
    return HoldfastError(f"image '{path.name}' cannot be read: {error.strerror}", remedy=remedy)


def remember(read: Iterable[tuple[Path, tuple[Stamp, bytes]]]) -> None:
    """Keep digests whose files were at rest when they were read."""
    rows = [(path, stamp, digest) for path, (stamp, digest) in read if stamp.settled]
    _here.update({path: (stamp, digest) for path, stamp, digest in rows})
    with _memory() as memory:
        if memory is not None and rows:
            memory.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(os.fspath(path), *_signed(stamp), digest) for path, stamp, digest in rows],
            )
            (count,) = memory.execute("SELECT COUNT(*) FROM files").fetchone()
            if count > MOST:
                oldest = "SELECT path FROM files ORDER BY seen LIMIT ?"
                memory.execute(f"DELETE FROM files WHERE path IN ({oldest})", (count - MOST // 2,))


def sound_pictures(found: Iterable[bytes], rules: str) -> set[bytes]:
    """Those of the digests whose pictures were decoded whole before, under the same rules."""
    query = "SELECT digest FROM pictures WHERE rules = ? AND digest IN"
    return {bytes(digest) for (digest,) in _found(query, found, rules)}


def remember_pictures(sound: Mapping[bytes, Size], rules: str) -> None:
    """Keep that these pictures were decoded whole, and how large they are."""
    with _memory() as memory:
        if memory is not None and sound:
            memory.executemany("INSERT OR IGNORE INTO pictures VALUES (?, ?)", [(digest, rules) for digest in sound])
            sizes = [(digest, *size) for digest, size in sound.items()]
            memory.executemany("INSERT OR IGNORE INTO sizes VALUES (?, ?, ?)", sizes)


def sizes_of_pictures(found: Iterable[bytes]) -> dict[bytes, Size]:
    """How large those of these pictures are that were decoded before."""
    return {
        bytes(digest): (width, height) for digest, width, height in _found("SELECT * FROM sizes WHERE digest IN", found)
    }


@dataclass(frozen=True)
class Remembered:
    """The file in which digests are kept, its bytes with what SQLite keeps beside it, and how many files it knows."""

    file: Path
    size: int
    known: int


def memory() -> Remembered | None:
    """What is remembered; None where nothing is."""
    try:
        place = _place()
        size = sum(file.stat().st_size for file in _beside(place) if file.is_file())
        if not place.is_file():
            return None
        with closing(sqlite3.connect(place, timeout=10)) as connection:
            (known,) = connection.execute("SELECT COUNT(*) FROM files").fetchone()
    except (OSError, RuntimeError):
        return None
    except sqlite3.Error:  # no database, or none of ours yet
        known = 0
    return Remembered(place, size, known)


def forget() -> int:
    """Delete what is remembered; files are read again when they are needed.

    Returns:
        Bytes freed.
    """
    found = memory()
    _here.clear()
    if found is None:
        return 0
    for file in _beside(found.file):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            problem = f"it cannot be deleted: {error.strerror}"
            raise HoldfastError(problem, file=file, remedy="delete it by hand") from error
    return found.size


def _beside(place: Path) -> list[Path]:
    return [place.with_name(place.name + ending) for ending in ("", "-journal", "-wal", "-shm")]


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _recalled(paths: Sequence[Path]) -> dict[Path, tuple[Stamp, bytes]]:
    names = {os.fspath(path): path for path in paths}
    rows = _found("SELECT * FROM files WHERE path IN", names)
    return {names[name]: (_unsigned(facts), bytes(digest)) for name, *facts, digest in rows}


def _found(query: str, values: Iterable[Any], *before: Any) -> list[tuple[Any, ...]]:
    """The rows of the memory that a query finds for any of some values.

    Args:
        query: As far as its last ``IN``.
        values: What stands behind that; asked for a few hundred at a time.
        before: What the query has in front of that.
    """
    rest, found = iter(values), []
    part = list(islice(rest, _PART))
    if part:  # opening the memory takes longer than looking at a file
        with _memory() as memory:
            while memory is not None and part:
                found += memory.execute(f"{query} ({','.join('?' * len(part))})", (*before, *part)).fetchall()
                part = list(islice(rest, _PART))
    return found


def _signed(stamp: Stamp) -> tuple[int, ...]:
    """Inodes and devices are 64 bits without a sign; SQLite's numbers have one."""
    return tuple(value - (1 << 64) if value >= 1 << 63 else value for value in stamp)


def _unsigned(facts: Sequence[int]) -> Stamp:
    size, modified, changed, inode, device, seen = facts
    return Stamp(size, modified, changed, inode % (1 << 64), device % (1 << 64), seen)


def _place() -> Path:
    named = os.environ.get("HOLDFAST_CACHE")
    if named:
        return path_of(named) / "contents.sqlite"
    return cache_folder() / "contents.sqlite"


@contextmanager
def _memory() -> Iterator[sqlite3.Connection | None]:
    """The memory in one transaction, or None where there is none to be had: no home or a read-only one, a full disk."""
    connection = _opened()
    if connection is None:
        yield None
        return
    with closing(connection):
        try:
            yield connection
            connection.commit()
        except sqlite3.Error:
            connection.rollback()


def _opened() -> sqlite3.Connection | None:
    try:
        place = _place()
        place.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(place, timeout=10)
    except (OSError, HoldfastError, sqlite3.Error):
        return None
    try:
        connection.executescript(_TABLES)
    except sqlite3.DatabaseError as error:
        connection.close()
        if not isinstance(error, sqlite3.OperationalError):  # not a database: it is only a memory
            place.unlink(missing_ok=True)
        return None
    return connection


Advance = Callable[[int, int], None]
"""Told how many of how many files are done."""

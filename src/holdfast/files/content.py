"""Opening what comes from outside: plain or gzipped, sizes counted while they grow, every failure one sentence."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from holdfast.errors import HoldfastError

FILE_LIMIT = 4 << 30
"""Bytes of a file, inflated; the largest public annotation files have a quarter of it."""
LINE_LIMIT = 64 << 20
"""Bytes of a line or a cell; pictures written as text into tables reach a sixth of it."""
INFLATED_FREELY = 32 << 20
"""Bytes that any compressed file may inflate to."""
INFLATED_RATIO = 200
"""Beyond that, inflated bytes for each stored one: predictions reach 50, deflate's own limit is 1,032."""
PEEK = 1 << 16
"""Bytes that can be looked at before a form is chosen."""

PIECE = 1 << 20
"""Bytes inflated before they are counted."""

_GZIP = b"\x1f\x8b"
_WORDS = {
    errno.ENOENT: ("the file does not exist", "check the path"),
    errno.ENOTDIR: ("the file does not exist", "check the path"),
    errno.EISDIR: ("this is a folder, and a file is needed here", "name the file in it that lists the items"),
    errno.EACCES: ("the file may not be read", "check its permissions"),
    errno.ELOOP: ("the file is a link that leads back to itself", "put the file itself there"),
    errno.ENAMETOOLONG: ("the name of the file is too long", None),
}


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Say in one sentence what the system or the decompressor found wrong with ``file``."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        cut = isinstance(error, EOFError)
        what = "the compressed file is cut short" if cut else "the compressed file is damaged"
        raise HoldfastError(what, file=file, remedy="copy or download it again") from error
    except OSError as error:
        known = error.errno if error.errno is not None else -1
        what, remedy = _WORDS.get(known, (f"the file cannot be read ({error.strerror or error})", None))
        raise HoldfastError(what, file=file, remedy=remedy) from error
    except ValueError as error:  # a name with a null byte
        if "null" not in str(error):
            raise
        raise HoldfastError("the name of the file holds a null byte") from error


def open_content(file: Path) -> io.BufferedReader:
    """The bytes of ``file``, inflated where its first bytes say that it is gzipped, whatever its name.

    Raises:
        OSError: As the system says; call it within :func:`reading`.
        HoldfastError: It is a device.
    """
    stream: io.BufferedReader = io.BufferedReader(io.FileIO(file), PEEK)
    mode = os.fstat(stream.fileno()).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        stream.close()
        raise HoldfastError("this is a device, and a file is needed here", file=file)
    if stream.peek(2)[:2] == _GZIP:
        return io.BufferedReader(_Inflated(stream, file), PEEK)
    return stream


class _Inflated(io.RawIOBase):
    """Inflates a gzipped stream and stops where it grows as no honest file does."""

    def __init__(self, stored: io.BufferedReader, file: Path) -> None:
        self.stored, self.file, self.size = stored, file, 0
        self.inflated = gzip.GzipFile(fileobj=stored)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self.inflated.read(min(len(buffer), PIECE))
        self.size += len(piece)
        within(self.size, self.stored.tell(), self.file)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self.inflated.close()
            self.stored.close()
        super().close()


def within(inflated: int, stored: int, file: Path) -> None:
    """Refuse a compressed file that inflates without measure.

    Args:
        inflated: Bytes so far.
        stored: Bytes that they were stored in.
        file: For the message.
    """
    if inflated > max(INFLATED_FREELY, stored * INFLATED_RATIO) or inflated > FILE_LIMIT:
        raise HoldfastError(
            f"the file inflates to more than {inflated >> 20:,} MB out of {max(stored >> 10, 1):,} kB",
            file=file,
            remedy="unpack it yourself and look at what it is",
        )


def refuse_wide(start: bytes, file: Path) -> None:
    """Refuse UTF-16 and UTF-32, which Windows programs write, by their first bytes."""
    zeros = [byte == 0 for byte in start[:4]]
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or zeros in ([True, False] * 2, [False, True] * 2):
        raise HoldfastError("the text is UTF-16, not UTF-8", file=file, remedy="save it again as UTF-8")


def read_bytes(path: str | Path) -> bytes:
    """Everything in a file, inflated.

    Raises:
        HoldfastError: Missing, unreadable, damaged or too large.
    """
    file = Path(path)
    with reading(file), open_content(file) as stream:
        return bytes(all_of(stream, file))


def all_of(stream: BinaryIO, file: Path) -> bytearray:
    """As :func:`read_bytes`, from an open stream."""
    content = bytearray()
    while piece := stream.read(PIECE):
        content += piece
        if len(content) > FILE_LIMIT:
            raise HoldfastError(f"the file is larger than {FILE_LIMIT >> 30} GB", file=file)
    return content


def read_text(path: str | Path) -> str:
    """The text of a file: UTF-8 with or without a mark in front, gzipped or not, line ends as they are.

    Raises:
        HoldfastError: Missing, unreadable, damaged, too large or not UTF-8.
    """
    file = Path(path)
    with reading(file), open_content(file) as stream:
        return as_text(all_of(stream, file), file)


def as_text(content: bytes | bytearray, file: Path) -> str:
    """As :func:`read_text`, from what stood in the file."""
    refuse_wide(bytes(content[:4]), file)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(file, content[: error.start].count(b"\n") + 1) from None


def not_utf8(file: Path, line: int) -> HoldfastError:
    """The error for bytes that are no UTF-8."""
    return HoldfastError("the text is not UTF-8", file=file, line=line, remedy="save it again as UTF-8")


def text_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their ends and one-based numbers, one at a time.

    Raises:
        HoldfastError: Missing, unreadable, damaged, not UTF-8, or a line beyond :data:`LINE_LIMIT`.
    """
    file = Path(path)
    with reading(file), open_content(file) as stream:
        refuse_wide(stream.peek(4), file)
        yield from decoded(stream, file)


def decoded(stream: BinaryIO, file: Path) -> Iterator[tuple[int, str]]:
    """As :func:`text_lines`, from an open stream."""
    for number, raw in enumerate(iter(partial(stream.readline, LINE_LIMIT + 1), b""), start=1):
        if len(raw) > LINE_LIMIT:
            raise HoldfastError(f"the line is longer than {LINE_LIMIT >> 20} MB", file=file, line=number)
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise not_utf8(file, number) from None

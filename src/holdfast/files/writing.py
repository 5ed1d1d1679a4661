"""Writing beside the final name and renaming, so that nothing half written ever stands under a name that is read."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError

PARTIAL = ".partial"
"""Ending of what is not whole yet."""

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
}
_CLOSED = {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "the folder may not be written to",
    errno.EPERM: "the folder may not be written to",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EISDIR: "a folder stands where a file is needed",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "a link on the way leads back to itself",
}
_numbers = count()


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say in one sentence that ``path`` could not be written, and that the same command goes on afterwards.

    Raises:
        HoldfastError: For what the system refuses, and for safetensors' own error, which is no OSError and has the
            system's number in its text.
    """
    try:
        yield
    except Exception as error:
        number = _refusal(error, Path(path))
        if number in _FULL:
            raise HoldfastError(
                f"this cannot be written: {_FULL[number]}",
                file=path,
                remedy="make room, then give the same command again; it goes on where it stopped",
                kind="full",
            ) from error
        if number in _CLOSED:
            raise HoldfastError(
                f"this cannot be written: {_CLOSED[number]}",
                file=path,
                remedy="choose a place that may be written to, or change it, then give the same command again",
            ) from error
        raise


def _refusal(error: Exception, path: Path) -> int | None:
    """The system's number behind a failed write; a file elsewhere that could not be read is not one."""
    if isinstance(error, OSError):
        elsewhere = isinstance(error.filename, str) and not error.filename.startswith(str(path.parent))
        return None if elsewhere and error.errno not in _FULL else error.errno
    if type(error).__name__ == "SafetensorError":
        text = str(error)
        return next((number for number in (*_FULL, *_CLOSED) if f"os error {number})" in text), None)
    return None


@contextmanager
def beside(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """A name to write a file under, which becomes ``path`` when the block ends well and vanishes when it does not.

    The file has the permissions that the process gives to new files, whatever a library wrote it with.

    Args:
        path: The final name; its folder is made.
        durable: Wait until the disk has it, where losing it to a power cut would lose work.

    Raises:
        HoldfastError: As :func:`writing`.
    """
    final = Path(path)
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(final)
        try:
            with partial.open("xb") as made:
                mode = os.fstat(made.fileno()).st_mode & 0o777
            yield partial
            _settle(partial, mode, durable)
            partial.replace(final)
            if durable:
                _sync(final.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def folder_beside(path: str | Path, *, replace: bool = False, durable: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes ``path`` when the block ends well and vanishes when it does not.

    Args:
        path: The final name; its parent is made.
        replace: Put it in the place of a folder that is there. Between two renames neither stands under the name; a
            process that dies there leaves the old one as ``NAME.old`` (see :func:`heal_folder`).
        durable: As in :func:`beside`.

    Raises:
        HoldfastError: As :func:`writing`; also where something stands there and ``replace`` is not set.
    """
    final = Path(path)
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        sweep(final.parent, f".{final.name}.")
        partial = _partial(final)
        old = final.with_name(final.name + ".old")
        try:
            partial.mkdir()
            probe = partial / PARTIAL
            with probe.open("xb") as made:
                mode = os.fstat(made.fileno()).st_mode & 0o777
            probe.unlink()
            yield partial
            for file in partial.rglob("*"):
                if file.is_file() and not file.is_symlink():
                    _settle(file, mode, durable)
            if replace and final.exists():
                shutil.rmtree(old, ignore_errors=True)
                final.rename(old)
            elif final.exists() or final.is_symlink():
                raise HoldfastError("this exists already", file=final, remedy="choose another name, or remove it")
            partial.rename(final)
            if durable:
                _sync(final.parent)
            if replace:
                shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def heal_folder(path: str | Path) -> None:
    """Put back the folder that :func:`folder_beside` was replacing when its process died between two renames."""
    final = Path(path)
    old = final.with_name(final.name + ".old")
    if old.is_dir():
        with writing(final):
            if final.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(final)


def write_bytes(path: str | Path, content: bytes, *, durable: bool = False) -> None:
    """Write a whole file in one rename.

    Raises:
        HoldfastError: As :func:`writing`.
    """
    with beside(path, durable=durable) as partial:
        partial.write_bytes(content)


def copy_file(source: str | Path, path: str | Path) -> None:
    """The bytes of ``source`` under the name ``path``, in one rename.

    Raises:
        HoldfastError: As :func:`writing`.
    """
    with beside(path) as partial:
        shutil.copyfile(source, partial)


def write_text(path: str | Path, text: str, *, durable: bool = False) -> None:
    """As :func:`write_bytes`, in UTF-8."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def write_json(path: str | Path, value: Any, *, indent: int | None = 1, durable: bool = False) -> None:
    """As :func:`write_bytes`, one JSON value and a line end; NaN is a fault of the caller's.

    Raises:
        ValueError: NaN or infinite.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, durable=durable)


def write_lines(path: str | Path, records: Iterable[Mapping[str, Any]], *, durable: bool = False) -> None:
    """As :func:`write_bytes`, one JSON object a line, written as they come."""
    with beside(path, durable=durable) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(line_of(record) for record in records)


def line_of(record: Mapping[str, Any]) -> str:
    """One line of a JSON Lines file."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def append_line(path: str | Path, record: Mapping[str, Any]) -> None:
    """Add one line to a JSON Lines file.

    Raises:
        HoldfastError: As :func:`writing`.
    """
    with writing(path), Path(path).open("a", encoding="utf-8", newline="\n") as stream:
        stream.write(line_of(record))


def drop_cut_line(path: str | Path) -> bool:
    """Take off what stands after the last line end: the half line that a killed process leaves.

    Returns:
        Whether there was any.
    """
    with writing(path), Path(path).open("rb+") as stream:
        end = size = stream.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(end - (1 << 16), 0)
            stream.seek(begin)
            found = stream.read(end - begin).rfind(b"\n")
            end = begin
            if found >= 0:
                end = begin + found + 1
                break
        if end < size:
            stream.truncate(end)
        return end < size


def sweep(folder: str | Path, prefix: str = ".") -> None:
    """Remove what processes of this machine that are no more left unfinished in ``folder``."""
    here = _host()
    for found in Path(folder).glob(f"{prefix}*{PARTIAL}"):
        host, _, process = found.name.removesuffix(PARTIAL).rpartition("@")[2].rpartition("-")[0].rpartition("-")
        if host == here and process.isdecimal() and not is_running(int(process)):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether a process of this number lives on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _partial(final: Path) -> Path:
    """A name beside ``final`` that no other process, here or on a machine that shares the disk, uses."""
    return final.with_name(f".{final.name}@{_host()}-{os.getpid()}-{next(_numbers)}{PARTIAL}")


def _host() -> str:
    import socket  # not for every command

    name = "".join(letter for letter in socket.gethostname() if letter.isalnum() or letter in "._")
    return name[:32] or "host"


def _settle(file: Path, mode: int, durable: bool) -> None:
    found = file.stat().st_mode & 0o777
    if found | mode != found:
        file.chmod(found | mode)
    if durable:
        _sync(file)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems know no fsync of folders
            raise
    finally:
        os.close(handle)

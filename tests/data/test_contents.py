"""Content is what counts: an untouched file is not read again, and nothing that keeps size and time deceives."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holdfast.data import checking, contents
from holdfast.data.checking import check_pictures
from holdfast.data.contents import GAP, digest, digests
from holdfast.data.images import decode, open_image
from holdfast.data.stored import StoredImage


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory of its own, and a process that has seen nothing."""
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "_here", {})


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really read, in order."""
    seen: list[Path] = []
    original = contents.read_digest

    def listening(path: Path) -> tuple[contents.Stamp, bytes]:
        seen.append(path)
        return original(path)

    monkeypatch.setattr(contents, "read_digest", listening)
    monkeypatch.setattr(checking, "read_digest", listening)
    return seen


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the clock stand ten seconds further on; files that were written before are at rest then."""
    now = time.time_ns

    def move() -> None:
        monkeypatch.setattr(time, "time_ns", lambda: now() + 10_000_000_000)

    return move


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process would be: only the memory on disk is left."""
    monkeypatch.setattr(contents, "_here", {})


def test_a_file_at_rest_is_read_once(
    tmp_path: Path, read: list[Path], later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{index}" for index in range(1200)]  # more than one question to the memory
    for index, file in enumerate(files):
        file.write_bytes(b"%d" % index)
    later()
    first = digests(files)
    assert len(set(first.values())) == len(files) and read.count(files[0]) == 1
    forget(monkeypatch)
    assert digests(files) == first and len(read) == len(files)
    os.utime(files[3])
    assert digests(files) == first and read[len(files) :] == [files[3]]  # touched: read, though it is the same


def test_a_file_that_was_just_written_is_read_every_time(tmp_path: Path, read: list[Path]) -> None:
    """An edit within the clock's grain would keep size, times and inode."""
    file = tmp_path / "a"
    file.write_bytes(b"one")
    first = digest(file)
    assert digest(file) == first and len(read) == 2
    with file.open("r+b") as stream:
        stream.write(b"two")
    assert digest(file) != first


@pytest.mark.parametrize("way", ["in place", "cp -p", "renamed over it", "a year ahead"])
def test_new_content_under_kept_size_and_time(tmp_path: Path, way: str, later: Callable[[], None]) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"one")
    other.write_bytes(b"two")
    past = time.time_ns() - 10**12 if way != "a year ahead" else time.time_ns() + 3 * 10**16
    for one in (file, other):
        os.utime(one, ns=(past, past))
    later()
    first = digest(file)
    time.sleep(0.02)  # a change time of its own: the real clock of the file system cannot be moved
    if way == "cp -p":
        shutil.copy2(other, file)
    elif way == "renamed over it":
        other.rename(file)
    else:
        file.write_bytes(b"two")
        os.utime(file, ns=(past, past))
    assert file.stat().st_mtime_ns == past and file.stat().st_size == 3
    assert digest(file) != first


def test_the_rule_by_itself() -> None:
    stamp = contents.Stamp(3, 10 * GAP, 10 * GAP, 7, 1, 12 * GAP)
    assert stamp.settled and stamp.same_file(stamp._replace(seen=99 * GAP))
    for field in ("size", "modified", "changed", "inode", "device"):
        assert not stamp.same_file(stamp._replace(**{field: 5}))
    assert not stamp._replace(modified=11 * GAP).settled  # exactly the gap is not beyond it
    assert not stamp._replace(changed=12 * GAP).settled


@pytest.mark.parametrize("how", ["no database", "a folder in its place", "a folder that is a file"])
def test_without_a_memory_files_are_read(tmp_path: Path, how: str, later: Callable[[], None]) -> None:
    (tmp_path / "a").write_bytes(b"one")
    later()
    cache = tmp_path / "cache"
    if how == "a folder that is a file":
        cache.write_bytes(b"")
    else:
        cache.mkdir()
        (cache / "contents.sqlite").write_bytes(b"no database " * 100) if how == "no database" else (
            cache / "contents.sqlite"
        ).mkdir()
    assert digest(tmp_path / "a") == digests([tmp_path / "a"])[tmp_path / "a"]
    if how == "no database":  # it was only a memory: a new one is begun
        contents._here.clear()
        digest(tmp_path / "a")
        assert (cache / "contents.sqlite").read_bytes().startswith(b"SQLite")


def pictures(folder: Path, count: int) -> list[Path]:
    """Small JPEGs, all different."""
    folder.mkdir()
    files = [folder / f"{index}.jpg" for index in range(count)]
    for index, file in enumerate(files):
        pixels = np.full((6, 6, 3), (index % 256, index // 256, 90), dtype=np.uint8)
        Image.fromarray(pixels).save(file, quality=95)
    return files


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are decoded from here on, in this process."""
    seen: list[str] = []

    def listening(source: Path | StoredImage) -> tuple[int, int]:
        seen.append(source.name)
        return decode(source)

    monkeypatch.setattr(checking, "decode", listening)
    return seen


@pytest.mark.parametrize("few", [True, False])
def test_pictures_are_decoded_once(
    tmp_path: Path, few: bool, later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pictures(tmp_path / "p", 40)
    files[7].write_bytes(files[7].read_bytes()[:200])
    files[9].write_bytes(b"")
    (tmp_path / "p" / "5.jpg").unlink()
    if not few:
        monkeypatch.setattr(checking, "FEW", 20)  # workers in processes of their own, on the real clock
        monkeypatch.setattr(contents, "GAP", 0)
    later()
    told: list[tuple[int, int]] = []
    wrong = check_pictures([*files, *files], advance=lambda done, all_: told.append((done, all_)))
    assert sorted(wrong) == sorted([files[5], files[7], files[9]])
    assert "does not exist" in wrong[files[5]].problem and "truncated" in wrong[files[7]].problem
    assert "empty" in wrong[files[9]].problem and told[-1] == (39, 39)

    opened = decoded(monkeypatch)
    monkeypatch.setattr(checking, "FEW", 10_000)
    forget(monkeypatch)
    assert sorted(check_pictures(files)) == sorted(wrong)
    assert set(opened) == {"7.jpg", "9.jpg"}  # what is wrong is looked at again: it may have been mended
    forget(monkeypatch)
    monkeypatch.setattr(checking, "MAX_PIXELS", 5)  # other rules
    check_pictures(files[:3])
    assert set(opened) == {"7.jpg", "9.jpg", "0.jpg", "1.jpg", "2.jpg"}


def test_a_large_file_is_not_held_whole_and_told_alike(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pictures(tmp_path / "p", 2)
    small = [checking.look_at(file) for file in files]
    assert read == []
    monkeypatch.setattr(checking, "LARGE", 10)
    large = [checking.look_at(file) for file in files]
    assert read == files
    for (_, _, one), (_, _, other) in zip(small, large, strict=True):
        assert one is not None and other is not None
        assert one.stamp.same_file(other.stamp) and one[1:] == other[1:]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "tif", "png"])
@pytest.mark.parametrize("remembered", [True, False])
def test_sizes_are_those_of_the_upright_picture(
    tmp_path: Path,
    orientation: int,
    kind: str,
    remembered: bool,
    later: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"a.{kind}"
    Image.new("RGB", (30, 20)).save(file, exif=exif)
    later()
    if remembered:
        check_pictures([file])
        monkeypatch.setattr(checking, "size_of", lambda path: pytest.fail(f"{path} is opened again"))
    assert checking.sizes_of([file]) == {file: open_image(file).size}


def test_a_memory_of_before_sizes_is_filled_up(
    tmp_path: Path, later: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pictures(tmp_path / "p", 3)
    later()
    check_pictures(files)
    with sqlite3.connect(tmp_path / "cache" / "contents.sqlite") as memory:
        memory.execute("DROP TABLE sizes")
    forget(monkeypatch)
    opened = decoded(monkeypatch)
    assert check_pictures(files) == {} and len(opened) == 3
    assert check_pictures(files) == {} and len(opened) == 3


def test_workers_that_die_leave_no_picture_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pictures(tmp_path / "p", 30)
    files[29].write_bytes(b"no picture")
    monkeypatch.setattr(checking, "FEW", 5)
    monkeypatch.setattr(checking.sys, "executable", "/bin/false")
    assert list(check_pictures(files)) == [files[29]]

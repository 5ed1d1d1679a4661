"""Decode every picture once before training, on all cores, and never again while its content stays.

Many pictures go to worker processes of their own (``python -m holdfast.data.checking``), which are told paths and
answer with digests: threads would wait for each other between the decoder's calls, and a fork of a process that holds
torch is no place to work in.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.data.contents import (
    Advance,
    Size,
    Stamp,
    cores,
    known,
    read_digest,
    read_whole,
    remember,
    remember_pictures,
    sizes_of_pictures,
    sound_pictures,
)
from holdfast.data.examples import Example
from holdfast.data.images import FORMATS, MAX_PIXELS, decode, size_of
from holdfast.data.stored import Encoded, StoredImage
from holdfast.errors import HoldfastError
from holdfast.files import parse_json

FEW = 400
"""Up to so many pictures a worker would take longer to start than to decode them."""

DESK = 32
"""Pictures that a worker is given at a time: the answers to two desks have to fit into a pipe (64 kB)."""

KEPT = 2000
"""Pictures after which what was found is written down."""

LARGE = 64 << 20
"""Bytes. A larger file is read twice, once for its digest and once by the decoder, so as not to be held whole."""

Picture = Path | StoredImage


class Decoded(NamedTuple):
    """What one look at a file's content tells."""

    stamp: Stamp
    digest: bytes
    size: Size


Found = tuple[Picture, HoldfastError | None, Decoded | None]


def check_pictures(pictures: Iterable[Picture], *, advance: Advance | None = None) -> dict[Picture, HoldfastError]:
    """What is wrong with which picture; the others can be decoded whole.

    Args:
        pictures: Files inside the data root, and pictures that stand in records.
        advance: See :meth:`PictureCheck.finish`.
    """
    with PictureCheck() as check:
        for picture in pictures:
            check.add(picture)
        return check.finish(advance)


class PictureCheck:
    """Decodes pictures while more of them are still being found; a context, so that no worker is left behind."""

    def __init__(self) -> None:
        self._rules = _rules()
        self._asked: set[Picture] = set()
        self._problems: dict[Picture, HoldfastError] = {}
        self._new: list[Path] = []
        self._unread: list[Path] = []
        self._stored: list[StoredImage] = []
        self._remembered = self._sent = 0
        self._workers: _Workers | None = None

    def __enter__(self) -> PictureCheck:
        return self

    def __exit__(self, *error: object) -> None:
        if self._workers is not None:
            self._workers.end()

    def add(self, picture: Picture) -> None:
        """One more, or one that was added before."""
        if picture in self._asked:
            return
        self._asked.add(picture)
        if isinstance(picture, StoredImage):
            self._stored.append(picture)
            return
        self._new.append(picture)
        if len(self._new) > FEW:
            self._sort_out()

    def finish(self, advance: Advance | None = None) -> dict[Picture, HoldfastError]:
        """What is wrong with which of them.

        Args:
            advance: Told how many of how many are done: at the beginning, where pictures that are remembered count as
                done, and in the end, where all are.
        """
        self._sort_out()
        done = self._remembered
        total = done + self._sent + len(self._unread) + len(self._stored)
        if advance is not None and total:
            advance(done, total)
        read: list[tuple[Path, Decoded]] = []
        for picture, problem, seen in chain(self._looked_at(), map(_look_into, self._stored)):
            done += 1
            if problem is not None:
                self._problems[picture] = problem
            elif seen is not None and isinstance(picture, Path):
                read.append((picture, seen))
            if advance is not None and (done % 50 == 0 or done == total):
                advance(done, total)
            if len(read) >= KEPT:  # what an interrupted check has done is not done again
                self._remember(read)
                read = []
        self._remember(read)
        return self._problems

    def _sort_out(self) -> None:
        """Of the new ones, those that are not remembered go to the workers once there are enough of them."""
        paths: list[Path] = []
        for path in self._new:
            if path.is_file():
                paths.append(path)
            else:  # gone since its path was resolved
                self._problems[path] = HoldfastError(f"image '{path.name}' does not exist", remedy="put it back")
        self._new = []
        found, unread = known(paths)
        contents = set(found.values())
        sound = sound_pictures(contents, self._rules) & sizes_of_pictures(contents).keys()  # once no sizes were kept
        unread += [path for path, digest in found.items() if digest not in sound]
        self._remembered += len(paths) - len(unread)
        self._unread += unread
        if sys.executable and (self._workers is not None or len(self._unread) > FEW):
            self._workers = self._workers or _Workers()
            self._workers.take(self._unread)
            self._sent += len(self._unread)
            self._unread = []

    def _looked_at(self) -> Iterator[Found]:
        if self._workers is not None:
            yield from self._workers.finish()
        if self._unread:
            with ThreadPoolExecutor(cores()) as pool:
                yield from pool.map(look_at, self._unread)

    def _remember(self, read: Sequence[tuple[Path, Decoded]]) -> None:
        remember((path, (seen.stamp, seen.digest)) for path, seen in read)
        remember_pictures({seen.digest: seen.size for _, seen in read}, self._rules)


def pictures_of(examples: Iterable[Example]) -> Iterator[Picture]:
    """What :func:`check_pictures` takes, of examples; drawn pixels need no check."""
    return (image for example in examples for image in example.images if isinstance(image, Path | StoredImage))


def problem_of(example: Example, wrong: Mapping[Picture, HoldfastError]) -> HoldfastError | None:
    """What is wrong with the first bad picture of an example."""
    return next((wrong[image] for image in pictures_of([example]) if image in wrong), None)


def sizes_of(paths: Iterable[Path]) -> dict[Path, Size]:
    """How large pictures are that were checked before; only a file of which that is not remembered is opened."""
    every = list(dict.fromkeys(paths))
    found, _ = known(every)
    sizes = sizes_of_pictures(set(found.values()))
    return {path: sizes.get(found.get(path, b"")) or size_of(path) for path in every}


def _look_into(picture: StoredImage) -> Found:
    try:
        decode(picture)
    except HoldfastError as error:
        return picture, error, None
    return picture, None, None


def look_at(path: Path) -> Found:
    """Read and decode one file."""
    try:
        if path.stat().st_size > LARGE:
            stamp, digest = read_digest(path)
            size = decode(path)
        else:
            stamp, content, digest = read_whole(path)
            size = decode(Encoded(content, path.name))
    except OSError as error:
        return path, HoldfastError(f"image '{path.name}' cannot be read: {error.strerror}", remedy="put it back"), None
    except HoldfastError as error:
        return path, error, None
    return path, None, Decoded(stamp, digest, size)


def _rules() -> str:
    """What decides whether a picture is sound, beside its bytes."""
    import PIL

    return f"1 {PIL.__version__} {MAX_PIXELS} {','.join(FORMATS)}"


def _worker() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast.data.checking"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(part for part in sys.path if part)},
        encoding="utf-8",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


class _Workers:
    """A picture at a time to each worker that is free would wait for answers; so each has a few on its desk.

    The next desk is laid out before the answers to the last one are read: whoever finds the pictures holds the
    interpreter, and a worker would wait for it.
    """

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[list[Found] | None] = queue.SimpleQueue()
        self._running: list[subprocess.Popen[str]] = []
        self._taken = 0
        self._ended = False

    def take(self, paths: Sequence[Path]) -> None:
        """Look at these too; there are as many workers as cores once that pays."""
        for path in paths:
            self._todo.put(path)
        self._taken += len(paths)
        while len(self._running) < min(cores(), 1 + self._taken // FEW):
            self._running.append(_worker())
            threading.Thread(target=self._serve, args=(self._running[-1],), daemon=True).start()

    def finish(self) -> Iterator[Found]:
        """What was found of all that were taken; there will be no more."""
        running = len(self._running)
        for _ in range(running):
            self._todo.put(None)
        while running:
            found = self._done.get()
            if found is None:
                running -= 1
            else:
                yield from found
        while not self._todo.empty():  # every worker has died
            path = self._todo.get()
            if path is not None:
                yield look_at(path)

    def end(self) -> None:
        """Stop at once."""
        self._ended = True
        for worker in self._running:
            worker.kill()
            worker.wait()
        for _ in self._running:  # threads that wait for more
            self._todo.put(None)

    def _serve(self, worker: subprocess.Popen[str]) -> None:
        before: list[Path] = []
        desk: list[Path] = []
        try:
            assert worker.stdin is not None and worker.stdout is not None
            while True:
                desk = self._desk()
                if desk:
                    worker.stdin.write(json.dumps([os.fspath(path) for path in desk]) + "\n")
                    worker.stdin.flush()
                if before:
                    answers = parse_json(worker.stdout.readline())
                    self._done.put([_answer(path, *told) for path, told in zip(before, answers, strict=True)])
                if not desk:
                    break
                before, desk = desk, []
        except (OSError, ValueError, HoldfastError):  # killed, for example for want of memory: look at the rest here
            for path in before + desk if not self._ended else ():
                self._done.put([look_at(path)])
        finally:
            for pipe in (worker.stdin, worker.stdout):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            self._done.put(None)

    def _desk(self) -> list[Path]:
        """The next few pictures; none where there will be no more."""
        desk: list[Path] = []
        path = self._todo.get()
        while path is not None:
            desk.append(path)
            if len(desk) == DESK or self._todo.empty():
                return desk
            path = self._todo.get()
        if desk:
            self._todo.put(None)  # to be found again
        return desk


def _tell(found: Found) -> list[str | int | None]:
    _, problem, seen = found
    if problem is not None:
        return [problem.problem, problem.remedy]
    assert seen is not None
    return [seen.digest.hex(), *seen.size, *seen.stamp]


def _answer(path: Path, first: str, *more: Any) -> Found:
    """What :func:`_tell` told."""
    if len(more) == 1:
        return path, HoldfastError(first, remedy=more[0]), None
    width, height, *stamp = more
    return path, None, Decoded(Stamp(*stamp), bytes.fromhex(first), (width, height))


def main() -> None:
    """A worker: a JSON list of paths a line comes in, a list of answers goes out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    for line in sys.stdin:
        sys.stdout.write(json.dumps([_tell(look_at(Path(name))) for name in parse_json(line)]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

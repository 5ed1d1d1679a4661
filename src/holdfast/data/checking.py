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
from itertools import chain
from pathlib import Path
from typing import NamedTuple

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

LARGE = 64 << 20
"""Bytes. A larger file is read twice, once for its digest and once by the decoder, so as not to be held whole."""

Picture = Path | StoredImage


class Seen(NamedTuple):
    """What one look at a file's content tells."""

    stamp: Stamp
    digest: bytes
    size: Size


Found = tuple[Picture, HoldfastError | None, Seen | None]


def check_pictures(pictures: Iterable[Picture], *, advance: Advance | None = None) -> dict[Picture, HoldfastError]:
    """What is wrong with which picture; the others can be decoded whole.

    Args:
        pictures: Files inside the data root, and pictures that stand in records.
        advance: Told how many of how many are done: at the beginning, where pictures that are remembered count as
            done, and in the end, where all are.
    """
    problems: dict[Picture, HoldfastError] = {}
    paths: list[Path] = []
    stored: list[StoredImage] = []
    for picture in dict.fromkeys(pictures):
        if isinstance(picture, StoredImage):
            stored.append(picture)
        elif picture.is_file():
            paths.append(picture)
        else:  # gone since its path was resolved
            problems[picture] = HoldfastError(f"image '{picture.name}' does not exist", remedy="put it back")
    found, unread = known(paths)
    rules = _rules()
    contents = set(found.values())
    sound = sound_pictures(contents, rules) & sizes_of_pictures(contents).keys()  # older versions kept no sizes
    unread += [path for path, digest in found.items() if digest not in sound]
    done, total = len(paths) - len(unread), len(paths) + len(stored)
    if advance is not None and total:
        advance(done, total)
    read: list[tuple[Path, Seen]] = []
    for picture, problem, seen in chain(_looked_at(unread), map(_look_into, stored)):
        done += 1
        if problem is not None:
            problems[picture] = problem
        elif seen is not None and isinstance(picture, Path):
            read.append((picture, seen))
        if advance is not None and (done % 50 == 0 or done == total):
            advance(done, total)
    remember((path, (seen.stamp, seen.digest)) for path, seen in read)
    remember_pictures({seen.digest: seen.size for _, seen in read}, rules)
    return problems


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
    return path, None, Seen(stamp, digest, size)


def _rules() -> str:
    """What decides whether a picture is sound, beside its bytes."""
    import PIL

    return f"1 {PIL.__version__} {MAX_PIXELS} {','.join(FORMATS)}"


def _looked_at(paths: Sequence[Path]) -> Iterator[Found]:
    count = min(cores(), 1 + len(paths) // FEW)
    if len(paths) <= FEW or not sys.executable:
        with ThreadPoolExecutor(cores()) as pool:
            yield from pool.map(look_at, paths)
        return
    workers = [_worker() for _ in range(count)]
    try:
        yield from _shared_out(paths, workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _worker() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "holdfast.data.checking"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(part for part in sys.path if part)},
        encoding="utf-8",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _shared_out(paths: Sequence[Path], workers: Sequence[subprocess.Popen[str]]) -> Iterator[Found]:
    """A picture at a time to each worker that is free would wait for answers; so each has a few on its desk."""
    todo: queue.SimpleQueue[Path] = queue.SimpleQueue()
    done: queue.SimpleQueue[Found | None] = queue.SimpleQueue()
    for path in paths:
        todo.put(path)

    def serve(worker: subprocess.Popen[str]) -> None:
        desk: list[Path] = []
        try:
            assert worker.stdin is not None and worker.stdout is not None
            while True:
                try:
                    for _ in range(64):
                        desk.append(todo.get_nowait())
                except queue.Empty:
                    if not desk:
                        break
                worker.stdin.write(json.dumps([os.fspath(path) for path in desk]) + "\n")
                worker.stdin.flush()
                while desk:
                    answer = parse_json(worker.stdout.readline())
                    done.put(_answer(desk[0], answer))
                    desk.pop(0)
        except (OSError, ValueError, HoldfastError):  # killed, for example for want of memory: look at the rest here
            for path in desk:
                done.put(look_at(path))
        finally:
            done.put(None)

    threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    running = len(threads)
    while running:
        found = done.get()
        if found is None:
            running -= 1
        else:
            yield found
    while not todo.empty():  # every worker has died
        yield look_at(todo.get())


def _answer(path: Path, answer: list[object]) -> Found:
    problem, remedy, stamp, digest, size = answer
    if problem is not None:
        return path, HoldfastError(str(problem), remedy=None if remedy is None else str(remedy)), None
    assert isinstance(stamp, list) and isinstance(size, list)
    return path, None, Seen(Stamp(*stamp), bytes.fromhex(str(digest)), (size[0], size[1]))


def main() -> None:
    """A worker: a JSON list of paths a line comes in, an answer a path goes out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    for line in sys.stdin:
        for name in parse_json(line):
            _, problem, seen = look_at(Path(name))
            stamp, digest, size = seen or (None, b"", None)
            told = [problem and problem.problem, problem and problem.remedy, stamp, digest.hex(), size]
            sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""The plain record of a study: its points, what they scored, and why some have no score.

``study.json`` says which points there are; ``points/<key>/scores.json`` is what a finished one scored;
``failed/<key>.json`` says why one failed. ``results.jsonl`` repeats the scores in one file, so that five thousand
points are read at once. It is derived: a line counts only while its stamp is that of the ``scores.json`` it was made
from, so that an edited point, a cut line or a deleted index change nothing but the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from holdfast.errors import HoldfastError
from holdfast.files import append_line, drop_cut_line, read_json, scan
from holdfast.results.items import ItemStore, Tasks, append_items, read_store
from holdfast.values import JSON

STUDY = "study.json"
INDEX = "results.jsonl"
POINTS = "points"
FAILED = "failed"
SCORES = "scores.json"
TRAINING = "training.json"

SEED = "seed"
"""The axis that repeats."""

CONDITIONS = ("target", "model")
"""Axes that are averaged over or shown apart; every other axis but the seed is a factor of the recipe."""

State = Literal["finished", "failed", "waiting"]


@dataclass(frozen=True)
class Point:
    """One run of a study.

    Attributes:
        key: Its content address, 16 hexadecimal digits.
        levels: Axis -> name of its level; target, seed and model too where they are axes.
        state: Whether there is a score.
        reason: Why it failed; ``None`` unless it did.
        scores: Its entry of ``scores.json`` (see ``runs/scores.py``), in points, and ``peak_memory`` of
            ``training.json`` in bytes where it is known; empty unless finished.
        folder: Its run folder.
    """

    key: str
    levels: Mapping[str, str]
    state: State
    reason: str | None
    scores: JSON
    folder: Path


@dataclass(frozen=True)
class Results:
    """A study as it stands.

    Attributes:
        title: One line.
        about: A paragraph; may be empty.
        axes: Axis -> names of its levels, both in order.
        points: Every point, finished or not, in the order of the study.
        claims: Names of the claims that the study puts on trial.
        published: Published figures beside ours.
        folder: The study folder.
        selected: What a selection on validation data chose, and its numbers.
        groups: Axis -> name of a group -> its levels, such as the targets that are ``seen`` and ``unseen``.
    """

    title: str
    about: str
    axes: Mapping[str, tuple[str, ...]]
    points: tuple[Point, ...]
    claims: tuple[str, ...]
    published: JSON
    folder: Path
    selected: JSON = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def factors(self) -> tuple[str, ...]:
        """Axes that make a recipe."""
        return tuple(axis for axis in self.axes if axis != SEED and axis not in CONDITIONS)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Axes that say on what a recipe was tried."""
        return tuple(axis for axis in self.axes if axis in CONDITIONS)

    @property
    def finished(self) -> tuple[Point, ...]:
        """Points with a score."""
        return tuple(point for point in self.points if point.state == "finished")

    @property
    def failed(self) -> tuple[Point, ...]:
        """Points that were tried and have none."""
        return tuple(point for point in self.points if point.state == "failed")


def read_results(folder: Path) -> Results:
    """Read a study folder.

    Raises:
        HoldfastError: There is no study, or its ``study.json`` is not one. A point whose scores cannot be read counts
            as failed, with the reason.
    """
    study = folder / STUDY
    if not study.is_file():
        raise HoldfastError(
            "this is no study folder: study.json is missing",
            file=folder,
            remedy="give the folder that holdfast study run wrote, its --out",
        )
    record = _study(study)
    index = _index(folder / INDEX)
    points = tuple(_point(row, folder, index, study) for row in record["points"])
    return Results(
        title=str(record.get("title", folder.name)),
        about=str(record.get("about") or ""),
        axes={str(axis): tuple(map(str, levels)) for axis, levels in record["axes"].items()},
        points=points,
        claims=tuple(map(str, record.get("claims") or ())),
        published=cast("JSON", record.get("published") or {}),
        folder=folder,
        selected=cast("JSON", record.get("selected") or {}),
        groups={
            str(axis): {str(name): tuple(map(str, levels)) for name, levels in named.items()}
            for axis, named in (record.get("groups") or {}).items()
        },
    )


def append_result(folder: Path, key: str, place: str | None = None) -> None:
    """Add a finished point and its items to the indexes of its study; two processes at once need a lock around it.

    Args:
        folder: The study folder.
        key: Of the point.
        place: Its run folder, from the study folder; default: ``points/<key>``.

    Raises:
        HoldfastError: Its scores or predictions cannot be read, or an index cannot be written.
    """
    file = folder / (place or f"{POINTS}/{key}") / SCORES
    index = folder / INDEX
    if index.exists():
        drop_cut_line(index)
    stamp = stamp_of(file)
    append_line(index, {"key": key, "stamp": stamp, "scores": _entry(file)})
    append_items(folder, [ItemStore().make(key, stamp, file.parent)])


def complete_index(folder: Path, places: Mapping[str, str]) -> None:
    """Add what the index of a study lacks of its finished points: of a process that was killed before it wrote it.

    Args:
        folder: The study folder.
        places: Key -> run folder, from the study folder. A point whose scores cannot be read is passed over.
    """
    index = _index(folder / INDEX)
    for key, place in places.items():
        with suppress(OSError, HoldfastError):
            if key not in index or index[key][0] != stamp_of(folder / place / SCORES):
                append_result(folder, key, place)


def read_items(results: Results) -> dict[str, Tasks]:
    """Key of a finished point -> what changed on each image of its tasks; what the store lacks is read and added.

    A point whose predictions cannot be read or are gone has no entry, and its figures intervals over seeds only.
    """
    store = read_store(results.folder)
    found: dict[str, Tasks] = {}
    made: list[JSON] = []
    for point in results.finished:
        with suppress(HoldfastError, OSError):
            stamp = stamp_of(point.folder / SCORES)
            if store.of(point.key, stamp) is None:
                made.append(store.make(point.key, stamp, point.folder))
            tasks = store.of(point.key, stamp)
            if tasks:
                found[point.key] = tasks
    if made:
        with suppress(HoldfastError):  # a folder that may only be read is read again the next time
            append_items(results.folder, made)
    return found


def _study(file: Path) -> JSON:
    record: Any = read_json(file)
    points = record.get("points") if isinstance(record, dict) else None
    axes = record.get("axes") if isinstance(record, dict) else None
    if (
        not isinstance(points, list)
        or not isinstance(axes, dict)
        or not all(isinstance(x, list) for x in axes.values())
    ):
        raise HoldfastError(
            "this is not the record of a study: it needs the axes with their levels, and the points",
            file=file,
            remedy="delete it and give the holdfast study run command again; finished points are kept",
        )
    return cast("JSON", record)


def _point(row: Any, folder: Path, index: Mapping[str, tuple[list[int], JSON]], study: Path) -> Point:
    levels = row.get("levels") if isinstance(row, dict) else None
    if not isinstance(levels, dict) or not isinstance(row.get("key"), str):
        raise HoldfastError(
            "a point of the study has no key or no levels",
            file=study,
            remedy="delete the file and give the holdfast study run command again; finished points are kept",
        )
    key = str(row["key"])
    place = folder / str(row.get("place", f"{POINTS}/{key}"))
    file = place / SCORES
    named = {str(axis): str(level) for axis, level in levels.items()}

    def point(state: State, reason: str | None = None, scores: JSON | None = None) -> Point:
        return Point(key=key, levels=named, state=state, reason=reason, scores=scores or {}, folder=place)

    try:
        stamp = stamp_of(file)
    except OSError:
        failed = folder / FAILED / f"{key}.json"
        return point("failed", _reason(failed)) if failed.is_file() else point("waiting")
    known = index.get(key)
    if known is not None and known[0] == stamp:
        return point("finished", scores=known[1])
    try:
        return point("finished", scores=_entry(file))
    except HoldfastError as error:
        return point("failed", str(error))


def stamp_of(file: Path) -> list[int]:
    """What changes when a file is written again: its size, its time, and which file it is."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _entry(file: Path) -> JSON:
    """The one recipe of a run's ``scores.json``."""
    record: Any = read_json(file)
    recipes = record.get("recipes") if isinstance(record, dict) else None
    entries = list(recipes.values()) if isinstance(recipes, dict) else []
    wanted = {"E", "F", "target", "sources"}
    if len(entries) != 1 or not isinstance(entries[0], dict) or not wanted <= entries[0].keys():
        raise HoldfastError(
            "these are not the scores of one run",
            file=file,
            remedy="delete the file and give the holdfast study run command again; they are made anew",
        )
    return cast("JSON", entries[0]) | _peak(file.with_name(TRAINING))


def _peak(file: Path) -> JSON:
    """What memory the training took, which stands apart from the scores because it is another every time."""
    with suppress(HoldfastError, OSError):
        record: Any = read_json(file)
        size = record.get("peak_memory") if isinstance(record, dict) else None
        if isinstance(size, int) and not isinstance(size, bool) and size > 0:
            return {"peak_memory": size}
    return {}


def _reason(file: Path) -> str:
    try:
        record: Any = read_json(file)
    except HoldfastError as error:
        return str(error)
    return str(record.get("reason", "no reason is written down")) if isinstance(record, dict) else "unknown"


def _index(file: Path) -> dict[str, tuple[list[int], JSON]]:
    """Key -> stamp and scores of every whole line; the last one of a key counts."""
    return {key: (stamp, scores) for key, stamp, scores in _lines(file)}


def _lines(file: Path) -> Iterator[tuple[str, list[int], JSON]]:
    if not file.is_file():
        return
    try:
        for _, entry in scan(file):
            if isinstance(entry, dict) and {"key", "stamp", "scores"} <= entry.keys():
                yield str(entry["key"]), entry["stamp"], entry["scores"]
    except HoldfastError:  # empty, or no text: it is derived, the points themselves are read
        return

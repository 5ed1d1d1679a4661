"""What changed on each image, point by point, kept so small that thousands of points are compared item by item.

``items.jsonl`` of a study holds a line a point: of every task how many items stand on each image, and the summed
change of their scores. Like the index of scores it is derived: a point whose line is missing, or not of its
``scores.json``, is read from its prediction files again.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import HoldfastError
from holdfast.files import append_line, drop_cut_line, read_bytes, scan
from holdfast.predictions.file import read_predictions
from holdfast.predictions.record import Prediction
from holdfast.values import JSON

Floats = NDArray[np.float64]
ITEMS = "items.jsonl"


@dataclass(frozen=True)
class ItemChanges:
    """One task of one point.

    Attributes:
        items: Digest of the ids and their images; two points with one digest were asked the same.
        sizes: Items on each image, float64 [images].
        change: Summed change of score on each image, float64 [images].
    """

    items: str
    sizes: Floats
    change: Floats


Tasks = Mapping[str, ItemChanges]


@dataclass
class ItemStore:
    """The lines of ``items.jsonl``, read and made.

    Attributes:
        points: Key of a point -> stamp of its scores, and its tasks.
    """

    points: dict[str, tuple[list[int], dict[str, ItemChanges]]] = field(default_factory=dict)
    _read: dict[bytes, list[Prediction]] = field(default_factory=dict, repr=False)

    def of(self, key: str, stamp: Sequence[int]) -> Tasks | None:
        """The tasks of a point, where a line of just this stamp is known."""
        known = self.points.get(key)
        return None if known is None or known[0] != list(stamp) else known[1]

    def make(self, key: str, stamp: Sequence[int], run: Path, answers: Path | None = None) -> JSON:
        """Read a point's prediction files; returns the line to append.

        Args:
            key: Of the point.
            stamp: Of its scores.
            run: Its run folder.
            answers: Where the answers of its model stand; default: in the run folder.

        Raises:
            HoldfastError: A prediction file cannot be read.
        """
        tasks: dict[str, ItemChanges] = {}
        for file in sorted(((answers or run) / "predictions").glob("*.jsonl")):
            base = run / "base" / "predictions" / file.name
            if not base.is_file():
                continue
            after = {item.id: item for item in read_predictions(file)}
            before = {item.id: item for item in self._once(base)}
            scored = all(item.score is not None for part in (before, after) for item in part.values())
            if not scored or after.keys() != before.keys():
                continue
            task = next(iter(after.values())).task or file.stem
            tasks[task] = item_changes(
                {i: (item.score or 0.0) - (before[i].score or 0.0) for i, item in after.items()},
                {i: before[i].image or item.image for i, item in after.items()},
            )
        return self.add(key, stamp, tasks)

    def add(self, key: str, stamp: Sequence[int], tasks: Mapping[str, ItemChanges]) -> JSON:
        """Take a point in; returns its line."""
        self.points[key] = (list(stamp), dict(tasks))
        packed = {task: [of.items, _packed(of.sizes), _packed(of.change)] for task, of in tasks.items()}
        return {"key": key, "stamp": list(stamp), "tasks": packed}

    def _once(self, file: Path) -> list[Prediction]:
        """The base's answers: the same bytes beside many points, read once."""
        digest = hashlib.sha256(read_bytes(file)).digest()
        if digest not in self._read:
            self._read[digest] = read_predictions(file)
        return self._read[digest]


def item_changes(changes: Mapping[str, float], images: Mapping[str, str]) -> ItemChanges:
    """Sum the changes of the items over their images; an item without an image is its own."""
    ids = sorted(changes)
    keys = [images.get(i) or f"\0{i}" for i in ids]
    digest = hashlib.sha256("\n".join(map(repr, zip(ids, keys, strict=True))).encode()).hexdigest()[:16]
    place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    index = np.array([place[key] for key in keys])
    return ItemChanges(
        items=digest,
        sizes=np.bincount(index).astype(np.float64),
        change=np.bincount(index, weights=np.array([changes[i] for i in ids])).astype(np.float64),
    )


def read_store(folder: Path) -> ItemStore:
    """What ``items.jsonl`` holds; a line that cannot be used is passed over."""
    store = ItemStore()
    file = folder / ITEMS
    if not file.is_file():
        return store
    try:
        for _, entry in scan(file):
            if isinstance(entry, dict):
                _take(store, entry)
    except HoldfastError:  # empty, or no text: the points themselves are read
        pass
    return store


def append_items(folder: Path, lines: Sequence[JSON]) -> None:
    """Add lines to the store of a study.

    Raises:
        HoldfastError: It cannot be written.
    """
    file = folder / ITEMS
    if file.exists():
        drop_cut_line(file)
    for line in lines:
        append_line(file, line)


def _take(store: ItemStore, entry: JSON) -> None:
    try:
        tasks = {
            str(task): ItemChanges(str(items), _unpacked(sizes), _unpacked(change))
            for task, (items, sizes, change) in entry["tasks"].items()
        }
        if all(len(of.sizes) == len(of.change) for of in tasks.values()):
            store.points[str(entry["key"])] = (list(entry["stamp"]), tasks)
    except (KeyError, TypeError, ValueError, AttributeError):
        return


def _packed(values: Floats) -> str:
    """One letter and base64: ``n`` and a count where all are 1, ``b`` bytes where whole and small, ``f`` floats."""
    if (values == 1).all():
        return f"n{len(values)}"
    whole = np.rint(values)
    if np.array_equal(whole, values) and np.abs(whole).max(initial=0) < 128:
        return "b" + base64.b64encode(whole.astype(np.int8).tobytes()).decode()
    return "f" + base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpacked(text: str) -> Floats:
    if text.startswith("n"):
        return np.ones(int(text[1:]))
    kind = {"b": "i1", "f": "<f4"}[text[:1]]
    return np.frombuffer(base64.b64decode(text[1:], validate=True), dtype=kind).astype(np.float64)

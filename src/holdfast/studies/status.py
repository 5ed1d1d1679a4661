"""How far a study is, from its folder alone; needs neither a model nor a configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast import files
from holdfast.results.points import Point, read_results
from holdfast.studies.grid import levels_in_words
from holdfast.values import JSON


@dataclass(frozen=True)
class Status:
    """A study as it stands.

    Attributes:
        title: Of the study.
        folder: Its folder.
        points: How many there are.
        finished: How many have scores.
        failed: Reason -> titles of the points that failed for it.
        working: Titles of the points that a process works on now.
        waiting: How many are left, those at work included.
        seconds: Of training, over finished points.
        chosen: One line a choice on validation data.
    """

    title: str
    folder: Path
    points: int
    finished: int
    failed: Mapping[str, Sequence[str]]
    working: Sequence[str]
    waiting: int
    seconds: float
    chosen: Sequence[str]

    def to_json(self) -> JSON:
        """Plain values."""
        return asdict(self) | {"folder": str(self.folder)}


def status_of(folder: Path) -> Status:
    """Read a study folder.

    Raises:
        HoldfastError: It holds no study.
    """
    results = read_results(folder)
    states = Counter(point.state for point in results.points)
    failed: dict[str, list[str]] = {}
    for point in results.failed:
        failed.setdefault(point.reason or "no reason is written down", []).append(title_of(point))
    waiting = [point for point in results.points if point.state == "waiting"]
    return Status(
        title=results.title,
        folder=folder,
        points=len(results.points),
        finished=states["finished"],
        failed=failed,
        working=[title_of(point) for point in waiting if point.folder.is_dir() and _held(folder, point.key)],
        waiting=len(waiting),
        seconds=sum(float(point.scores.get("seconds") or 0.0) for point in results.finished),
        chosen=[line for axis, rows in results.selected.items() for line in _chosen(axis, rows)],
    )


def title_of(point: Point) -> str:
    """For people."""
    return levels_in_words(point.levels)


def _held(folder: Path, key: str) -> bool:
    with files.claimed(folder / ".locks" / f"{key}.lock") as free:
        return not free


def _chosen(axis: str, rows: Sequence[JSON]) -> list[str]:
    lines = []
    for row in rows:
        whom = ", ".join(row["for"].values()) or "all"
        level = row["level"]
        if level is None:
            measured = sum(value is not None for value in row["figures"].values())
            of = len(row["figures"])
            lines.append(f"{axis} of {whom}: none yet, {measured} of {of} levels tried")
            continue
        if row.get("once"):
            figures = _measured(row["figures"][level])
            lines.append(f"{axis} of {whom}: nothing that is tuned reads it, so it was trained once ({figures})")
            continue
        figures = "; ".join(
            f"{name}: {'failed' if isinstance(value, str) else _measured(value)}"
            for name, value in row["figures"].items()
            if value is not None
        )
        lines.append(f"{axis} of {whom}: {level} ({figures})")
    return lines


def _measured(value: JSON) -> str:
    """What the candidates of one level came to."""
    sources = "" if value.get("sources") is None else f", sources {value['sources']:.1f} %"
    return f"loss {value['loss']:.3g}, target {value['exact']:.1f} %{sources}"

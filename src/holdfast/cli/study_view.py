"""What a person sees of a study: one view while it runs, where it stands, which studies there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from holdfast.cli.terminal import console
from holdfast.events import Event, PointBegun, PointEnded, PointMoved, StudyMoved

if TYPE_CHECKING:
    from holdfast.studies.engine import Engine
    from holdfast.studies.library import Shipped
    from holdfast.studies.status import Status

_VERBS = {"scores": "", "artifact": "training for fusions: ", "validation": "choosing: "}

MANY = 3
"""Names that are written out before the rest is counted."""


class StudyView:
    """One line for the study with the time that is left, and one for each worker; a log gets a line a point."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(width=40, no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[note]}", table_column=Column(width=26, no_wrap=True, overflow="ellipsis")),
            console=console,
            transient=True,
        )
        self.total: TaskID | None = None
        self.workers: dict[int, TaskID] = {}
        self.moved = StudyMoved(points=0, finished=0, failed=0, candidates=(0, 0), seconds_left=None)

    def __enter__(self) -> StudyView:
        console.print(f"[bold]{escape(self.title)}[/]")
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case StudyMoved():
                self._count(event)
            case PointBegun(worker=worker, title=title, want=want):
                if worker not in self.workers:
                    self.workers[worker] = self.progress.add_task("", total=1, note="")
                text = escape(_VERBS[want] + title)
                self.progress.update(self.workers[worker], description=text, completed=0, total=1, note="begins")
            case PointMoved(worker=worker, stage=stage, done=done, total=total):
                note = escape(stage if total <= 1 else f"{stage} {done}/{total}")
                self.progress.update(self.workers[worker], completed=done, total=total, note=note)
            case PointEnded(worker=worker):
                if worker in self.workers:
                    self.progress.update(self.workers[worker], completed=1, total=1, note="idle")
                self._ended(event)
            case _:
                pass

    def _count(self, event: StudyMoved) -> None:
        self.moved = event
        done, of = event.candidates
        words = f"{event.finished} of {event.points} points" + (f", {event.failed} failed" if event.failed else "")
        if done < of:
            words = f"{done} of {of} candidates, {words}"
        note = "" if event.seconds_left is None else f"{duration(event.seconds_left)} left"
        if self.total is None:
            self.total = self.progress.add_task("", total=1, note="")
        self.progress.update(
            self.total, description=words, completed=event.finished + done, total=event.points + of, note=note
        )

    def _ended(self, event: PointEnded) -> None:
        what = escape(_VERBS[event.want] + event.title)
        if event.reason is not None:
            console.print(f"[yellow]failed[/] {what}: {escape(event.reason)}", soft_wrap=True)
        elif not console.is_terminal:
            left = self.moved.seconds_left
            rest = "" if not left else f", {duration(left)} left"
            count = f"[{self.moved.finished}/{self.moved.points}]"
            console.print(f"{escape(count)} {what}: {event.seconds:.0f} s{rest}", soft_wrap=True)


def conclude(folder: Path, work: Engine) -> int:
    """Say what came of a study and what to do next; returns the exit code."""
    from holdfast.studies.status import status_of

    found = status_of(folder)
    failed = sum(map(len, found.failed.values()))
    console.print(f"{found.finished} of {found.points} points are finished in {folder}.", soft_wrap=True)
    if work.part != (1, 1) and found.waiting:
        console.print(f"{found.waiting} wait: for other parts, or for what is chosen from them.")
    if failed:
        console.print(
            f"{failed} failed: holdfast study status {folder} says why, and --retry-failed tries again.", soft_wrap=True
        )
    if found.finished:
        console.print(f"Next: holdfast study report {folder}", soft_wrap=True)
    return 1 if failed else 0


def show_status(found: Status) -> None:
    """The state of a study."""
    console.print(f"[bold]{escape(found.title)}[/]")
    failed = sum(map(len, found.failed.values()))
    console.print(
        f"{found.points} points: {found.finished} finished, {failed} failed, {found.waiting} waiting; "
        f"{duration(found.seconds)} of training."
    )
    if found.working:
        console.print(f"At work: {escape(_some(found.working))}.", soft_wrap=True)
    for reason, names in found.failed.items():
        console.print(f"[yellow]failed[/] {escape(_some(names))}: {escape(reason)}", soft_wrap=True)
    if found.chosen:
        console.print("Chosen on validation data:")
        for line in found.chosen:
            for part in wrap(line, max(40, console.width), initial_indent="  ", subsequent_indent="    "):
                console.print(escape(part), soft_wrap=True)


def show_library(rows: Sequence[Shipped]) -> None:
    """Name, title, and points by scale."""
    studies: dict[str, list[Shipped]] = {}
    for row in rows:
        studies.setdefault(row.name, []).append(row)
    width = max(map(len, studies))
    for name, scales in studies.items():
        counts = ", ".join(f"{row.scale} {len(row.study.cells)}".strip() for row in scales)
        first, *others = wrap(scales[0].study.title, max(30, console.width - width - 2)) or [""]
        console.print(f"[bold]{name:<{width}}[/]  {escape(first)}", soft_wrap=True)
        for line in others:
            console.print(f"{'':<{width}}  {escape(line)}", soft_wrap=True)
        console.print(f"[dim]{'':<{width}}  points{_and_more(scales[0])}: {counts}[/]", soft_wrap=True)
    console.print("[dim]A point is one run. holdfast study run STUDY --scale SCALE; --dry-run says what that takes.[/]")


def _and_more(row: Shipped) -> str:
    """For studies with an axis of everything registered, which a list does not import."""
    every = [level for axis in row.study.axes.values() for level in axis.levels if level.startswith("every ")]
    return f" for {every[0]}" if every else ""


def duration(seconds: float) -> str:
    """A time for people: ``40 s``, ``12 min``, ``3.5 h``, ``2.1 d``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


def _some(names: Sequence[str]) -> str:
    shown = "; ".join(names[:MANY])
    return shown if len(names) <= MANY else f"{shown}; and {len(names) - MANY} more"

"""Runs a study: hands jobs to workers in an order in which each finds what it needs, until none is left.

The study folder is the only memory. A job is done when the file it aims at is there, has failed when its failure is
written down, and belongs to whoever holds its lock; so any number of processes may work on one folder, each may die at
any moment, and the same command goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.events import Listener, PointBegun, PointEnded, StudyMoved, silence
from holdfast.results.points import append_result, complete_index
from holdfast.studies.agenda import Agenda, Job, Planner, Want, settled_in
from holdfast.studies.attempt import failure_of, forget_failures, record_failure
from holdfast.studies.crew import Crew, Report
from holdfast.studies.earlier import Earlier
from holdfast.studies.record import write_study
from holdfast.studies.studyfile import StudyFile
from holdfast.values import JSON

TRIES = 2
"""Times that a job is begun whose worker is lost before it counts as failed."""

AGAIN = 1.0
"""Seconds until a job that another process holds is looked at again."""

PATIENCE = 15.0
"""Seconds for which candidates of other parts may be held by nobody before this part stops waiting for them."""

BETWEEN = 0.3
"""Seconds between two words on how far the study is: counting thousands of points takes a moment."""

Part = tuple[int, int]
"""Number, from 1, and count: ``2/8`` is ``(2, 8)``."""


@dataclass
class Ongoing:
    """What this process knows to be settled, and how long jobs took it."""

    done: set[tuple[str, Want]] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    running: dict[int, tuple[Job, float]] = field(default_factory=dict)
    later: dict[tuple[str, Want], float] = field(default_factory=dict)
    lost: dict[tuple[str, Want], int] = field(default_factory=dict)
    took: dict[Want, list[float]] = field(default_factory=dict)

    def settled(self, job: Job) -> bool:
        """Whether there is nothing left to do about it."""
        return job.name in self.done or job.key in self.failed


class Engine:
    """One process's work on one study."""

    def __init__(
        self, study: StudyFile, folder: Path, *, listen: Listener = silence, part: Part = (1, 1), retry: bool = False
    ) -> None:
        """Args:
        study: What to run.
        folder: The study folder, made where it is missing.
        listen: Hears what happens.
        part: Which share of the jobs is this process's.
        retry: Try again what has failed.
        """
        self.study, self.folder, self.listen, self.part = study, folder, listen, part
        self.planner, self.earlier = Planner(study), Earlier(folder)
        self.progress = Ongoing()
        self.size = 1
        self._indexed: set[str] = set()
        self._told = 0.0
        self._open: dict[tuple[str, Want], Job] = {}
        self.agenda = Agenda()
        if retry:
            forget_failures(folder)

    def plan(self) -> Agenda:
        """Everything that is known to be done by now; writes ``study.json``.

        Raises:
            HoldfastError: A mistake in a configuration, or the folder holds something else.
        """
        with files.locked(self.folder / ".locks" / "study.lock", what=str(self.folder), wait=_wait, named=False):
            self.agenda = self.planner.agenda(self._measured)
            for job in self.agenda.jobs.values():
                self._look(job)
            mine = (job for job in self.agenda.jobs.values() if self._mine(job))
            left = sorted((job for job in mine if not self.progress.settled(job)), key=lambda job: job.want != "scores")
            if left:
                self.earlier.look({job.place for job in self.agenda.jobs.values()})
                left = [replace(job, other=self.earlier.of(job)) for job in left]
            self._open = {job.name: job for job in left}  # scores first: a study that is cut short shows whole rows
            write_study(self.folder, self.study, self.agenda)
        self._index()
        return self.agenda

    @property
    def pending(self) -> list[Job]:
        """This part's jobs that are not settled, in the order in which they are begun."""
        return list(self._open.values())

    @property
    def complete(self) -> bool:
        """Whether nothing of this part is left, choices included."""
        return not self.pending and not self.agenda.open

    def run(self, crew: Crew) -> Agenda:
        """Work until nothing is left that this process could do.

        Raises:
            HoldfastError: The disk is full, or a configuration holds a mistake.
            KeyboardInterrupt: After workers have kept what they have.
        """
        self.size = crew.size
        try:
            self.plan()
            self._moved()
            unheld = time.monotonic()
            while True:
                self._assign(crew)
                if not self.progress.running and not self.progress.later.keys() & self._open.keys():
                    if self.complete or not self._others_at_work():
                        if self.complete or time.monotonic() - unheld > PATIENCE or self.part == (1, 1):
                            return self.agenda
                    else:
                        unheld = time.monotonic()
                    self.plan()
                for report in crew.reports(AGAIN):
                    self._hear(report)
        finally:
            crew.close()

    def _mine(self, job: Job) -> bool:
        number, count = self.part
        return job.lot % count == number - 1

    def _look(self, job: Job) -> None:
        """Learn from the folder whether a job is settled."""
        if self.progress.settled(job):
            return
        if settled_in(self.folder, job):
            self.progress.done.add(job.name)
        elif (reason := failure_of(self.folder, job.key)) is not None:
            self.progress.failed[job.key] = reason

    def _measured(self, key: str) -> JSON | str | None:
        file = self.folder / "points" / key / "validation.json"
        if file.is_file():
            try:
                found = files.read_json(file)
                return {name: found[name] for name in ("loss", "exact", "sources")}
            except (HoldfastError, KeyError, TypeError):  # derived: measured again
                file.unlink(missing_ok=True)
                self.progress.done.discard((key, "validation"))
        return failure_of(self.folder, key)

    def _assign(self, crew: Crew) -> None:
        now = time.monotonic()
        busy = {job.key for job, _ in self.progress.running.values()}
        idle = [worker for worker in range(crew.size) if worker not in self.progress.running]
        for job in self.pending if idle else ():
            if not idle:
                return
            if job.key in busy or self.progress.later.get(job.name, 0.0) > now:
                continue
            if job.needed is not None and not self._has_parent(job):
                continue
            self.progress.later.pop(job.name, None)
            worker = idle.pop(0)
            busy.add(job.key)
            self.progress.running[worker] = job, now
            self.listen(PointBegun(worker, job.title, job.want))
            crew.begin(worker, job)

    def _has_parent(self, job: Job) -> bool:
        """Whether the training that a fusion edits is there; where it failed, so has the fusion."""
        assert job.needed is not None and job.needs is not None
        if (self.folder / job.needs / "artifact" / "artifact.json").is_file():
            return True
        reason = self.progress.failed.get(job.needed)
        if reason is not None:
            self._fail(job, f"the training that it edits failed: {reason}", -1, 0.0)
        return False

    def _hear(self, report: Report) -> None:
        if report.kind == "moved":
            if report.event is not None:
                self.listen(report.event)
            return
        if report.worker not in self.progress.running:  # an idle worker that died; another is hired when there is work
            return
        job, begun = self.progress.running.pop(report.worker)
        seconds = time.monotonic() - begun
        if report.kind == "stopped":
            raise HoldfastError(report.reason.rstrip("."))
        if report.kind == "busy":
            self._look(job)
            if not self.progress.settled(job):
                self.progress.later[job.name] = time.monotonic() + AGAIN
                return
            seconds, report = 0.0, Report(-1, "done" if job.name in self.progress.done else "failed")
        if report.kind == "lost":
            self.progress.lost[job.name] = self.progress.lost.get(job.name, 0) + 1
            if self.progress.lost[job.name] < TRIES:
                return
            reason = f"{report.reason or 'its worker is gone'}, {TRIES} times; perhaps the memory did not suffice"
            self._fail(job, reason, report.worker, seconds)
        elif report.kind == "failed":
            self.progress.failed[job.key] = failure_of(self.folder, job.key) or "no reason is written down"
            self._ended(job, report.worker, self.progress.failed[job.key], seconds)
        elif report.worker >= 0 and not settled_in(self.folder, job):
            self._fail(job, f"its work ended, and {job.aim} is not there", report.worker, seconds)
        else:
            self.progress.done.add(job.name)
            if report.worker >= 0:
                self.progress.took.setdefault(job.want, []).append(seconds)
            self._ended(job, report.worker, None, seconds)
        if job.want == "validation" and self.agenda.open:
            self.plan()
            self._moved()

    def _fail(self, job: Job, reason: str, worker: int, seconds: float) -> None:
        record_failure(self.folder, job, reason)
        self.progress.failed[job.key] = reason
        self._ended(job, worker, reason, seconds)

    def _ended(self, job: Job, worker: int, reason: str | None, seconds: float) -> None:
        # Between its last file and this report it may have been found finished, when all was planned anew.
        if reason is None and job.want == "scores" and worker >= 0 and job.key not in self._indexed:
            with files.locked(self.folder / ".locks" / "index.lock", what=str(self.folder), wait=_wait, named=False):
                append_result(self.folder, job.key, job.place)
            self._indexed.add(job.key)
        self._open.pop(job.name, None)
        if reason is not None:  # whatever else was wanted of it
            for name in [name for name in self._open if name[0] == job.key]:
                del self._open[name]
        self._moved()
        self.listen(PointEnded(worker, job.key, job.title, job.want, reason, seconds))

    def _index(self) -> None:
        """Repeat in the index what stands in run folders alone: of a process that was killed in between."""
        done = (job for job in self._scored if job.name in self.progress.done and job.key not in self._indexed)
        finished = {job.key: job.place for job in done}
        if not finished:
            return
        self._indexed |= finished.keys()
        with files.locked(self.folder / ".locks" / "index.lock", what=str(self.folder), wait=_wait, named=False):
            complete_index(self.folder, finished)

    @property
    def _scored(self) -> list[Job]:
        return [job for job in self.agenda.jobs.values() if job.want == "scores"]

    def _others_at_work(self) -> bool:
        """Whether somebody holds a candidate of another part that a choice of ours waits for."""
        for job in self.agenda.jobs.values():
            if not self._mine(job) and not settled_in(self.folder, job):
                with files.claimed(self.folder / ".locks" / f"{job.key}.lock") as free:
                    if not free:
                        return True
        return False

    def _moved(self) -> None:
        if self._open and time.monotonic() - self._told < BETWEEN:
            return
        self._told = time.monotonic()
        progress, (number, count) = self.progress, self.part
        scored = [job for job in self._scored if self._mine(job)]
        unknown = [place for place, point in enumerate(self.agenda.points) if not point.config]
        unknown = [place for place in unknown if place % count == number - 1]
        candidates = [job for job in self.agenda.jobs.values() if job.want == "validation" and self._mine(job)]
        failed = [job for job in scored if job.key in progress.failed and job.name not in progress.done]
        self.listen(
            StudyMoved(
                points=len(scored) + len(unknown),
                finished=sum(job.name in progress.done for job in scored),
                failed=len(failed),
                candidates=(sum(progress.settled(job) for job in candidates), len(candidates)),
                seconds_left=self._seconds_left(len(unknown)),
            )
        )

    def _seconds_left(self, unknown: int) -> float | None:
        """Jobs that are left times what such jobs took, with those that run half done."""
        took = self.progress.took
        if not took:
            return None
        longest = max(_mean(times) for times in took.values())
        running = {job.name for job, _ in self.progress.running.values()}
        left = unknown * (_mean(took["scores"]) if "scores" in took else longest)
        for job in self.pending:
            each = _mean(took[job.want]) if job.want in took else longest
            left += each * (0.5 if job.name in running else 1.0)
        return left / self.size


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _wait(holder: str) -> None:
    """Locks around a record are held for a moment only."""

"""Who does the jobs of a study: processes of this machine, or (``ray_crew.py``) other machines."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any, Literal, Protocol

from holdfast.data.contents import cores
from holdfast.errors import HoldfastError
from holdfast.events import (
    CachingFeatures,
    Event,
    FeaturesCached,
    LoadingModel,
    PointMoved,
    Predicted,
    Predicting,
    StepDone,
    Waiting,
)
from holdfast.studies.agenda import Job
from holdfast.studies.attempt import Perform, RunPerformer, attempt

Kind = Literal["moved", "done", "failed", "busy", "lost", "stopped"]

PerformerFactory = Callable[[], Perform]
"""Makes what does jobs, in the process that does them; importable, so that it can be sent there."""


@dataclass(frozen=True)
class Report:
    """What a worker says.

    Attributes:
        worker: Its number.
        kind: ``moved`` with an event; how its job ended; ``lost``: its process is no more; ``stopped``: it met what
            ends the study, such as a full disk.
        event: Of ``moved``.
        reason: In words, where something went wrong.
    """

    worker: int
    kind: Kind
    event: Event | None = None
    reason: str = ""


class Crew(Protocol):
    """Workers with numbers from 0, each of which does one job at a time."""

    size: int

    def begin(self, worker: int, job: Job) -> None:
        """Let an idle worker do a job."""

    def reports(self, patience: float) -> list[Report]:
        """What workers have said since, waiting up to so many seconds for a first word."""

    def close(self) -> None:
        """Let workers finish the step they are at, keep what they have, and end."""


class Stages:
    """Makes of a run's many events the few that another process wants to hear."""

    EVERY = 0.3

    def __init__(self, worker: int, tell: Callable[[PointMoved], None]) -> None:
        self.worker, self.tell = worker, tell
        self.stage, self.done, self.total, self.last = "", 0, 1, 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case LoadingModel():
                self._at("loading", 0, 1)
            case StepDone(step=step, steps=steps):
                self._at("training", step, steps)
            case CachingFeatures(total=total):
                self._at("image features", 0, total)
            case Predicting(task=task, who=who, total=total):
                self._at(f"asking {who}: {task}", 0, total)
            case FeaturesCached(count=count) | Predicted(count=count):
                self._at(self.stage, self.done + count, self.total)
            case Waiting():
                self._at("waiting for another", 0, 1)
            case _:
                pass

    def _at(self, stage: str, done: int, total: int) -> None:
        new = stage != self.stage
        self.stage, self.done, self.total = stage, done, total
        now = time.monotonic()
        if new or now - self.last > self.EVERY:
            self.last = now
            self.tell(PointMoved(self.worker, stage, done, total))


class Processes:
    """Workers as processes of this machine that share its cores and live on for many jobs.

    They stand in sessions of their own, so that Ctrl-C reaches them through this process alone, once.
    """

    def __init__(self, folder: Path, size: int, *, threads: int, performer: PerformerFactory = RunPerformer) -> None:
        self.folder, self.size, self.threads, self.performer = folder, size, threads, performer
        self._context = get_context("spawn")
        self._workers: list[tuple[Any, Any] | None] = [None] * size
        self._asked = False

    def begin(self, worker: int, job: Job) -> None:
        """Send it, to a new process where there is none."""
        there = self._workers[worker]
        if there is None or not there[0].is_alive():
            there = self._workers[worker] = self._hire(worker)
        with suppress(OSError):  # it has died since; ``reports`` finds that
            there[1].send(job)

    def reports(self, patience: float) -> list[Report]:
        """What came over the pipes; a pipe that ends is a worker that is lost."""
        ends: dict[Any, int] = {there[1]: number for number, there in enumerate(self._workers) if there is not None}
        if not ends:
            time.sleep(patience)
            return []
        ready: list[Any] = connection.wait(list(ends), timeout=patience)
        found: list[Report] = []
        for end in ready:
            try:
                found.append(end.recv())
            except (EOFError, OSError):
                found.append(Report(ends[end], "lost", reason=self._dismissed(ends[end])))
        return found

    def close(self) -> None:
        """Ask with SIGTERM, wait; on a second Ctrl-C end them at once, which loses no more than a few steps."""
        alive = [there for there in self._workers if there is not None]
        self._workers = [None] * self.size
        for process, end in alive:
            end.close()
            if process.is_alive():
                with suppress(OSError):
                    process.terminate()
        try:
            for process, _ in alive:
                process.join()
        except KeyboardInterrupt:
            for process, _ in alive:
                process.kill()
            raise

    def _hire(self, worker: int) -> tuple[Any, Any]:
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(worker, there, str(self.folder), self.threads, self.performer), daemon=False
        )
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
        before = {name: os.environ.get(name) for name in names}
        os.environ |= dict.fromkeys(names, str(self.threads))  # read when the libraries load, before our code runs
        try:
            process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        there.close()
        return process, here

    def _dismissed(self, number: int) -> str:
        there = self._workers[number]
        self._workers[number] = None
        if there is None:
            return ""
        process, end = there
        end.close()
        process.join()
        code = process.exitcode or 0
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"


def work(worker: int, end: Any, folder: str, threads: int, performer: PerformerFactory) -> None:
    """What a worker's process does: jobs as they come, until there are none or its study ends."""
    from holdfast import stopping
    from holdfast.training.peak import process_is_ours

    with suppress(OSError, AttributeError):
        os.setsid()
    try:
        stopping.raise_when_asked()
        threading.Thread(target=_end_with_parent, daemon=True).start()
        process_is_ours()
        try:
            serve(worker, end, Path(folder), performer)
        finally:
            stopping.end_at_once()  # the study that closes its end of the pipe sends SIGTERM right after
    except KeyboardInterrupt:
        os._exit(stopping.exit_code())


def serve(worker: int, end: Any, folder: Path, performer: PerformerFactory) -> None:
    """Jobs from one end of a pipe, one after the other, until it is closed.

    Raises:
        KeyboardInterrupt: The study ended in the middle of a job.
    """

    def say(event: Event) -> None:
        try:
            end.send(Report(worker, "moved", event))
        except (BrokenPipeError, ConnectionError):  # the study is no more: that is no fault of the job
            raise KeyboardInterrupt from None

    listen = Stages(worker, say)
    perform: Perform | None = None
    with suppress(EOFError, BrokenPipeError, ConnectionError):
        while True:
            job = end.recv()
            if perform is None:
                perform = performer()
            try:
                end.send(Report(worker, attempt(job, folder, perform, listen)))
            except HoldfastError as error:
                end.send(Report(worker, "stopped", reason=str(error)))


def _end_with_parent() -> None:
    """A study that is killed takes its workers along: each finishes its step and keeps it."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def share_of_cores(workers: int) -> int:
    """Threads of each worker."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    of = int(given) if given.isdecimal() and int(given) else cores()
    return max(1, of // workers)

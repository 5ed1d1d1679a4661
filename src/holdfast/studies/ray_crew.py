"""Ray as the crew of a study: workers on any machine of a cluster that shares the study folder."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.events import PointMoved
from holdfast.studies.agenda import Job
from holdfast.studies.attempt import Perform, RunPerformer, attempt
from holdfast.studies.crew import PerformerFactory, Report, Stages


class RayWorker:
    """One actor: it lives on for many jobs and keeps the base it has loaded."""

    def __init__(self, number: int, folder: str, performer: PerformerFactory) -> None:
        from holdfast.training.peak import process_is_ours

        process_is_ours()
        self.number, self.folder, self.performer = number, Path(folder), performer
        self._perform: Perform | None = None
        self._last: PointMoved | None = None

    def do(self, job: Job) -> Report:
        """Do a job; what ends the study comes back as a report too."""
        self._perform = self._perform or self.performer()
        try:
            return Report(self.number, attempt(job, self.folder, self._perform, Stages(self.number, self._note)))
        except HoldfastError as error:
            return Report(self.number, "stopped", reason=str(error))

    def at(self) -> PointMoved | None:
        """Where it is, while :meth:`do` goes on in another thread."""
        return self._last

    def _note(self, event: PointMoved) -> None:
        self._last = event


class RayCrew:
    """Workers as Ray actors.

    A cluster that runs already is used (``ray start``, ``RAY_ADDRESS``), otherwise one is started on this machine. An
    actor that dies with its machine is made anew elsewhere; what it held is free then, for locks end with a process.
    On a cluster of several machines the study folder must stand on a disk that all of them see, under one path.
    """

    def __init__(self, folder: Path, workers: int | None, *, performer: PerformerFactory = RunPerformer) -> None:
        try:
            import ray
        except ImportError as error:
            raise HoldfastError(
                "the engine ray needs a package that is not installed", remedy="pip install holdfast[ray]"
            ) from error
        self.ray: Any = ray
        self.folder, self.performer = folder.resolve(), performer
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
        resources = ray.cluster_resources()
        self._gpu = 1 if resources.get("GPU") else 0
        self.size = workers or int(resources["GPU"] if self._gpu else resources.get("CPU", 1))
        self._actors: list[Any] = [None] * self.size
        self._open: dict[Any, int] = {}

    def begin(self, worker: int, job: Job) -> None:
        """Send it, to a new actor where there is none."""
        if self._actors[worker] is None:
            make = self.ray.remote(num_cpus=1, num_gpus=self._gpu, max_concurrency=2)(RayWorker)
            self._actors[worker] = make.remote(worker, str(self.folder), self.performer)
        self._open[self._actors[worker].do.remote(job)] = worker

    def reports(self, patience: float) -> list[Report]:
        """How jobs ended; an actor that is gone is a worker that is lost."""
        if not self._open:
            time.sleep(patience)
            return []
        ready, _ = self.ray.wait(list(self._open), timeout=patience)
        found = []
        for reference in ready:
            worker = self._open.pop(reference)
            try:
                found.append(self.ray.get(reference))
            except self.ray.exceptions.RayError as error:
                self._actors[worker] = None
                found.append(Report(worker, "lost", reason=" ".join(str(error).split())[:200]))
        return found or self._stages()

    def close(self) -> None:
        """End the actors; a step in progress is lost, and the next start goes on from its last checkpoint."""
        for actor in self._actors:
            if actor is not None:
                with suppress(Exception):
                    self.ray.kill(actor)
        self._actors = [None] * self.size
        if self._ours:
            self.ray.shutdown()

    def _stages(self) -> list[Report]:
        asked = {number: self._actors[number].at.remote() for number in self._open.values()}
        found = []
        for number, reference in asked.items():
            with suppress(Exception):  # it is busy, or gone: ``reports`` finds that
                event = self.ray.get(reference, timeout=0.5)
                if event is not None:
                    found.append(Report(number, "moved", event))
        return found

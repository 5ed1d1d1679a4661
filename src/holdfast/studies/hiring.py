"""Which crew a study gets, and how many workers."""

from __future__ import annotations

from pathlib import Path

from holdfast.data.contents import cores
from holdfast.models.shipped import SHIPPED
from holdfast.studies.agenda import Agenda
from holdfast.studies.crew import Crew, Processes, share_of_cores
from holdfast.studies.ray_crew import RayCrew


def hire(folder: Path, agenda: Agenda, *, engine: str = "local", workers: int | None = None) -> Crew:
    """The crew of a study.

    Args:
        folder: The study folder.
        agenda: What is to do; the models that come with Holdfast are small enough for a worker a core.
        engine: ``local`` or ``ray``.
        workers: How many; default: see above.

    Raises:
        HoldfastError: Ray is wanted and not there.
    """
    small = all(job.config.get("model", "pocket") in SHIPPED for job in agenda.jobs.values())
    if engine == "ray":
        return RayCrew(folder, workers)
    size = workers or (cores() if small else 1)
    size = max(1, min(size, len(agenda.jobs) + len(agenda.points)))
    return Processes(folder, size, threads=share_of_cores(size))

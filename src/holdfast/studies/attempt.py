"""One job of a study, tried once: claimed, done or its failure written down."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from holdfast import files
from holdfast.errors import HoldfastError, cut
from holdfast.events import Listener
from holdfast.stopping import was_asked
from holdfast.studies.agenda import Job, settled_in

Outcome = Literal["done", "failed", "busy"]

Perform = Callable[[Job, Path, Listener], None]
"""Does a job in a study folder, so that its aim is there afterwards."""

FAILED = "failed"


class RunPerformer:
    """Does jobs as ``holdfast tune`` does, with one loaded base and one set of tasks for many jobs."""

    def __init__(self) -> None:
        from holdfast.runs.shelf import KeepingShelf

        self.shelf = KeepingShelf()

    def __call__(self, job: Job, folder: Path, listen: Listener) -> None:
        """Run the job.

        Raises:
            HoldfastError: As :meth:`holdfast.runs.run.Runner.execute`.
        """
        from holdfast.config.loading import load_config
        from holdfast.runs.run import Runner

        run = Runner(
            load_config(job.config),
            folder / job.place,
            base=Path(job.base),
            listen=listen,
            parent=None if job.needs is None else folder / job.needs,
            other=None if job.other is None else folder / job.other,
            shelf=self.shelf,
        )
        run.execute(job.want)


def attempt(job: Job, folder: Path, perform: Perform, listen: Listener) -> Outcome:
    """Do a job that nobody else does.

    What goes wrong with the job is written down, so that others go on; what would go wrong with every job is raised.

    Raises:
        HoldfastError: The disk is full, or a lock cannot be written.
        KeyboardInterrupt: The process was asked to end.
    """
    with files.claimed(folder / ".locks" / f"{job.key}.lock") as mine:
        if not mine:
            return "busy"
        if settled_in(folder, job):  # another process did it since
            return "done"
        if failure_of(folder, job.key) is not None:
            return "failed"
        try:
            perform(job, folder, listen)
        except HoldfastError as error:
            if was_asked(error):
                raise KeyboardInterrupt from error
            if error.kind == "full":
                raise
            record_failure(folder, job, str(error))
            return "failed"
        except Exception as error:  # a fault of ours or of a library is this point's; the others go on
            if was_asked(error):
                raise KeyboardInterrupt from error
            reason = f"{type(error).__name__}: {cut(str(error), 500)}"
            record_failure(folder, job, reason, trace=traceback.format_exc())
            return "failed"
        return "done"


def failure_of(folder: Path, key: str) -> str | None:
    """Why a job failed, as it stands in the study folder; ``None`` if it did not."""
    file = folder / FAILED / f"{key}.json"
    if not file.is_file():
        return None
    try:
        return str(files.read_json(file)["reason"])
    except (HoldfastError, KeyError, TypeError):  # cut short, or edited: that it failed is all we know
        return "no reason is written down"


def record_failure(folder: Path, job: Job, reason: str, *, trace: str | None = None) -> None:
    """Write down why a job failed.

    Raises:
        HoldfastError: The file cannot be written.
    """
    record = {"reason": reason, "when": time.strftime("%Y-%m-%d %H:%M:%S"), "want": job.want, "title": job.title}
    if trace is not None:
        record["trace"] = trace
    files.write_json(folder / FAILED / f"{job.key}.json", record)


def forget_failures(folder: Path) -> int:
    """Let everything that failed be tried again; how many there were."""
    found = list((folder / FAILED).glob("*.json"))
    for file in found:
        file.unlink(missing_ok=True)
    return len(found)

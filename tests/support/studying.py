"""Studies whose points are made up in milliseconds: the engine, its workers and its folder are real, the runs are not.

python -m tests.support.studying STUDY.yaml FOLDER WORKERS     # for tests that kill it
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.events import Listener, StepDone
from holdfast.studies.agenda import Job
from holdfast.studies.attempt import Perform, RunPerformer, attempt
from holdfast.studies.crew import PerformerFactory, Processes, Report
from holdfast.studies.engine import Engine
from holdfast.studies.studyfile import read_study_file

GRID: dict[str, Any] = {
    "title": "Made up",
    "common": {"model": "pocket", "target": "pocket:digits", "train": {"steps": 3}},
    "axes": {
        "method": {
            "lora": {"tune": {"llm": {"method": "lora", "r": 8}}},
            "ia3": {"tune": {"llm": "ia3"}},
            "soft": {"tune": {"llm": "full"}, "fuse": {"method": "wise_ft", "alpha": 0.5}},
            "softer": {"tune": {"llm": "full"}, "fuse": {"method": "wise_ft", "alpha": 0.2}},
        },
        "seed": [1, 2, 3],
    },
    "select": {"lr": {"levels": [0.001, 0.01], "per": ["method"], "with": {"seed": 1}}},
}
"""Four recipes, three seeds, a rate to choose; two recipes share their trainings."""


def write(file: Path, **changes: Any) -> Path:
    """A study file; ``changes`` replace sections of :data:`GRID`, None takes one away."""
    sections = {key: value for key, value in (GRID | changes).items() if value is not None}
    file.write_text(yaml.safe_dump(sections, sort_keys=False), encoding="utf-8")
    return file


def number(*parts: Any) -> float:
    """A number from 0 to 1 that depends on the parts and on nothing else."""
    text = json.dumps(parts, sort_keys=True)
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


class MadeUp:
    """Does a job by writing what it aims at; slowly enough to be killed, and half at first, as real runs do."""

    seconds = 0.0

    def __call__(self, job: Job, folder: Path, listen: Listener) -> None:
        place = folder / job.place
        place.mkdir(parents=True, exist_ok=True)
        log = place / "made.log"  # how often it was done: a finished job is never done again
        with log.open("a", encoding="utf-8") as stream:
            stream.write(job.want + "\n")
        config = {name: value for name, value in job.config.items() if name != "name"}
        if job.config.get("train", {}).get("steps") == 13:
            raise HoldfastError("thirteen steps are refused", remedy="take another number")
        for step in range(1, 4):
            listen(StepDone(step=step, steps=3, seconds=0.0, loss=1.0, lr=0.1, norm=1.0, tokens=1))
            time.sleep(self.seconds)
        if job.needs is not None and not (folder / job.needs / "artifact" / "artifact.json").exists():
            raise AssertionError(f"{job.title} was begun before the training it edits")
        if job.needs is None:
            files.write_json(place / "artifact" / "artifact.json", {"value": number(config)})
        if job.want == "validation":
            rate = config["tune"]["llm"]["lr"]
            measured = {"loss": rate if config["tune"]["llm"]["method"] == "lora" else 1 - rate}
            files.write_json(place / "validation.json", {**measured, "exact": 50.0, "sources": {}, "n": 4})
        if job.want == "scores":
            gained = 100 * number(config)
            rows = {"before": 0.0, "after": gained, "n": 4, "learned": 1, "forgot": 0}
            entry = {"name": job.title, "E": gained, "F": -1.0, "O": gained - 1, "H": 1.0, "seconds": 0.1}
            entry |= {"target": {"digits": rows}, "sources": {}, "seed": config.get("seed", 0)}
            files.write_json(place / "scores.json", {"recipes": {job.title: entry}})


class Slow(MadeUp):
    """Takes a little while."""

    seconds = 0.02


class Dies(MadeUp):
    """Its process vanishes at one method, as if it ran out of memory; the first time only, where a mark says so."""

    def __call__(self, job: Job, folder: Path, listen: Listener) -> None:
        once = folder.parent / "once"
        if job.config["tune"]["llm"]["method"] == "ia3" and (not once.exists() or once.read_text() == ""):
            if once.exists():
                once.write_text("died", encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)
        super().__call__(job, folder, listen)


class Leaves(MadeUp):
    """Its process is told to end while Python calls what is to be called at exit."""

    def __init__(self) -> None:
        atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))


class Alone:
    """A crew of this process; its events go to the listener as they come."""

    size = 1

    def __init__(self, folder: Path, listen: Listener, performer: PerformerFactory = RunPerformer) -> None:
        self.folder, self.listen, self.performer = folder, listen, performer
        self._perform: Perform | None = None
        self._ended: list[Report] = []

    def begin(self, worker: int, job: Job) -> None:
        """Do it, whole."""
        self._perform = self._perform or self.performer()
        self._ended.append(Report(worker, attempt(job, self.folder, self._perform, self.listen)))

    def reports(self, patience: float) -> list[Report]:
        """How the last job ended."""
        ended, self._ended = self._ended, []
        if not ended:
            time.sleep(patience)
        return ended

    def close(self) -> None:
        """Nothing to do."""


def made(folder: Path) -> dict[str, list[str]]:
    """Run folder -> what was done in it, in order."""
    return {
        str(log.parent.relative_to(folder)): log.read_text("utf-8").split() for log in sorted(folder.rglob("made.log"))
    }


def main() -> None:
    """A study with slow points in processes."""
    from holdfast import stopping

    try:
        stopping.raise_when_asked()
        try:
            folder = Path(sys.argv[2])
            work = Engine(read_study_file(Path(sys.argv[1])), folder)
            work.run(Processes(folder, int(sys.argv[3]), threads=1, performer=Slow))
        finally:
            stopping.end_at_once()
    except KeyboardInterrupt:
        sys.exit(stopping.exit_code())


if __name__ == "__main__":
    main()

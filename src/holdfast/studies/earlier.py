"""Trainings of an earlier state of a study: points that ask something else of them need not train again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from holdfast.studies.agenda import Job


class Earlier:
    """What stands in a study folder beside its points of today, by what was trained there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: set[str] = set()
        self._trained: dict[str, str] = {}
        self._wanted: dict[str, str] = {}

    def look(self, today: Collection[str]) -> None:
        """Learn what was trained in run folders that are none of ``today``'s; each is read once.

        Args:
            today: Run folders of the study as it is now, from the study folder.
        """
        there = {f"points/{found.name}" for found in (self.folder / "points").glob("*") if found.is_dir()}
        for place in sorted(there - self._seen - set(today)):
            from holdfast.runs.adopting import trained_in
            from holdfast.runs.folder import RunFolder

            self._seen.add(place)
            training = trained_in(RunFolder(self.folder / place))
            if training is not None:
                self._trained[training] = place

    def of(self, job: Job) -> str | None:
        """The run folder, from the study folder, whose training a job may take over."""
        if not self._trained or job.needs is not None or (self.folder / job.place / "artifact").exists():
            return None
        if job.key not in self._wanted:
            from holdfast.config.loading import load_config
            from holdfast.models.shipped import model_beside
            from holdfast.runs.adopting import training_of

            config = load_config(job.config)
            model = model_beside(config.model, Path(job.base))
            self._wanted[job.key] = training_of(config.model_copy(update={"model": model})) or ""
        return self._trained.get(self._wanted[job.key])

"""``study.json``: what a study is and which points it has, for whoever reads its results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.results.points import STUDY
from holdfast.studies.agenda import Agenda, Job, Planned
from holdfast.studies.attempt import failure_of, record_failure
from holdfast.studies.grid import levels_in_words
from holdfast.studies.studyfile import StudyFile
from holdfast.values import JSON


def write_study(folder: Path, study: StudyFile, agenda: Agenda) -> None:
    """Write the record where it says something new.

    Raises:
        HoldfastError: The folder holds something that is no study, or cannot be written.
    """
    file = folder / STUDY
    if not file.exists() and not study.named and folder.is_dir() and _strange(folder):
        raise HoldfastError("this exists and is not a study", file=folder, remedy="choose another --out")
    for point in agenda.points:
        if point.impossible is not None and failure_of(folder, point.key) is None:
            job = Job(point.key, "scores", point.place, levels_in_words(point.levels), {}, "")
            record_failure(folder, job, point.impossible)
    record: JSON = _writable(
        {
            "title": study.title,
            "about": study.about,
            "scale": study.scale,
            "axes": _axes(study),
            "points": [_row(point) for point in agenda.points],
            "claims": list(study.claims),
            "published": study.published,
            "origins": study.origins,
            "groups": study.groups,
            "selected": agenda.selected,
            "digest": study.digest,
        }
    )
    if file.exists():
        try:
            if files.read_json(file) == record:
                return
        except HoldfastError:  # damaged: it is derived
            pass
    files.write_json(file, record, indent=None)


def _row(point: Planned) -> JSON:
    row: JSON = {"key": point.key, "levels": dict(point.levels), "config": point.config}
    return row if point.place == f"points/{point.key}" else row | {"place": point.place}


def _axes(study: StudyFile) -> JSON:
    """Levels by axis; those that only points of their own have stand last."""
    return {
        name: list(dict.fromkeys([*axis.levels, *(cell.levels[name] for cell in study.cells)]))
        for name, axis in study.axes.items()
    }


def _strange(folder: Path) -> bool:
    return any(found.name not in (".locks", "failed", "points", ".base") for found in folder.iterdir())


def _writable(value: Any) -> Any:
    """JSON has no dates and nothing infinite; whoever reads the record only shows them."""
    if isinstance(value, Mapping):
        return {str(key): _writable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)

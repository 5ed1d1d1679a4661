"""Studies that come with Holdfast, by name, and where a study file is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError, nearest
from holdfast.files.places import path_of
from holdfast.studies.studyfile import StudyFile, read_study_file, scales_of

FOLDER = Path(__file__).with_name("library")


@dataclass(frozen=True)
class Shipped:
    """A study of the library at one scale."""

    name: str
    scale: str
    study: StudyFile


def shipped_names() -> list[str]:
    """The names of the library, in order."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def find_study(name: str) -> tuple[Path, Path]:
    """The file of a study, by path or by its name in the library, and where its relative paths start.

    Raises:
        HoldfastError: Neither a file nor a name.
    """
    file = path_of(name)
    if file.is_file():
        return file, file.resolve().parent
    if name in shipped_names():
        return FOLDER / f"{name}.yaml", Path.cwd()
    if name.endswith((".yaml", ".yml")) or "/" in name:
        raise HoldfastError("the study does not exist", file=name, remedy="check the path")
    raise HoldfastError(f"there is no study '{name}'", remedy=nearest(name, shipped_names()))


def shipped_studies() -> list[Shipped]:
    """Every study of the library at every scale; an axis of everything registered has one level here.

    Raises:
        HoldfastError: One of them holds a mistake.
    """
    found = []
    for name in shipped_names():
        file, base = find_study(name)
        found += [
            Shipped(name, scale, read_study_file(file, scale=scale or None, base=base, expand=False))
            for scale in scales_of(file) or [""]
        ]
    return found

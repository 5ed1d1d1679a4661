"""Recipes on the same model, target and sources, and an index of their scores that is kept current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.config.loading import load_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.events import Event, Listener, PointEnded, RecipeDone
from holdfast.runs.folder import RunFolder
from holdfast.studies.engine import Engine
from holdfast.studies.hiring import hire
from holdfast.studies.studyfile import StudyFile, read_study_file
from holdfast.values import JSON


@dataclass(frozen=True)
class StudyRecipe:
    """One row of a study.

    Attributes:
        name: Its folder and its line in the table.
        config: The whole configuration of the run.
        of: The recipe whose training this one takes over, for fusions that edit a finished run.
        origin: Where its learning rate and settings come from, in words.
    """

    name: str
    config: RunConfig
    of: str | None
    origin: str


@dataclass(frozen=True)
class Study:
    """Recipes in the order in which they run, and the file that says so."""

    title: str
    recipes: tuple[StudyRecipe, ...]
    written: StudyFile


def read_study(file: Path, overrides: Mapping[str, Any] | None = None) -> Study:
    """Read a study of recipes: ``title``, ``common`` settings, and ``recipes`` by name (``tune``, ``fuse``, ``of``...).

    Args:
        file: The YAML file.
        overrides: Settings that replace those of ``common``, section by section.

    Raises:
        HoldfastError: A mistake in a recipe, or ``of`` names a recipe that does not come before.
    """
    written = read_study_file(file, common=overrides)
    recipes = []
    for cell in written.cells:
        name = cell.title
        config = load_config(written.settings(cell) | {"name": name})
        recipes.append(StudyRecipe(name, config, written.of.get(name), str(written.origins.get(name, ""))))
    return Study(written.title, tuple(recipes), written)


def run_study(study: Study, out: Path, *, base: Path, listen: Listener) -> list[JSON]:
    """Run what is not finished yet; returns the entries of ``scores.json`` in the order of the study.

    Args:
        study: From :func:`read_study`.
        out: Its folder.
        base: Where relative paths of the recipes start.
        listen: Hears where each worker is, and how each recipe came out.

    Raises:
        HoldfastError: A recipe failed; the others were run, and the same call tries it again.
    """
    tell = _Teller(study, out, listen)
    work = Engine(replace(study.written, base=base), out, listen=tell, retry=True)
    work.plan()
    for name in tell.finished:
        tell.end(name)
    agenda = work.run(hire(out, work.agenda))
    for job in agenda.jobs.values():
        if job.key in work.progress.failed:
            raise HoldfastError(f"{job.title}: {work.progress.failed[job.key]}".rstrip("."))
    tell.write()
    return tell.entries


class _Teller:
    """Says of each recipe how it came out, and keeps the index."""

    def __init__(self, study: Study, out: Path, listen: Listener) -> None:
        self.study, self.folder, self.listen = study, RunFolder(out), listen
        self.names = [recipe.name for recipe in study.recipes]

    def __call__(self, event: Event) -> None:
        self.listen(event)
        if isinstance(event, PointEnded) and event.want == "scores" and event.reason is None:
            self.end(event.title)

    def end(self, name: str) -> None:
        self.write()
        self.listen(RecipeDone(self.entry(name)))

    @property
    def finished(self) -> list[str]:
        return [name for name in self.names if RunFolder(self.folder.path / name).scores.exists()]

    @property
    def entries(self) -> list[JSON]:
        return [self.entry(name) for name in self.finished]

    def entry(self, name: str) -> JSON:
        found = RunFolder(self.folder.path / name).read_json("scores.json", "recipes")["recipes"]
        origin = next(recipe.origin for recipe in self.study.recipes if recipe.name == name)
        return dict(next(iter(found.values()))) | {"origin": origin}

    def write(self) -> None:
        recipes = {entry["name"]: entry for entry in self.entries}
        self.folder.write_json("scores.json", {"title": self.study.title, "recipes": recipes})

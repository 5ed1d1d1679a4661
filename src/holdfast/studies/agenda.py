"""What there is to do in a study: every point with its key, and the jobs that lead to it.

A job is one run folder and how far it goes. A point wants scores. A point whose configuration fuses also wants the
training it edits, once for all strengths. A choice wants candidates measured on validation parts; a candidate that is
chosen with the same seed is a point later, and its training is not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from holdfast.errors import HoldfastError
from holdfast.files.digest import sha256
from holdfast.files.places import path_of
from holdfast.models.shipped import model_beside
from holdfast.studies.choices import Choice
from holdfast.studies.grid import Combination
from holdfast.studies.merging import merged
from holdfast.studies.studyfile import StudyFile
from holdfast.values import JSON

Want = Literal["scores", "artifact", "validation"]

AIMS = {"scores": "scores.json", "artifact": "artifact/artifact.json", "validation": "validation.json"}
"""How far a job goes -> the file in its run folder that says it went so far."""


NONE = "\0"
"""Begins what stands in the place of a level where there is none to choose."""


@dataclass(frozen=True)
class Job:
    """Work on one run folder.

    Attributes:
        key: Its content address.
        want: How far it goes.
        place: The run folder, from the study folder.
        title: For people.
        config: The run configuration without what has its default.
        base: Where its relative paths start.
        needs: Folder of the training that a fusion edits, from the study folder.
        needed: Key of that training.
        lot: Number by which jobs that belong together go to one part of a study.
        other: Folder of a point of an earlier state of the study that may have done the same training, from there.
    """

    key: str
    want: Want
    place: str
    title: str
    config: JSON
    base: str
    needs: str | None = None
    needed: str | None = None
    lot: int = 0
    other: str | None = None

    @property
    def aim(self) -> str:
        """The file that is there when it is done, from the study folder."""
        return f"{self.place}/{AIMS[self.want]}"

    @property
    def name(self) -> tuple[str, Want]:
        """Tells jobs apart."""
        return self.key, self.want


@dataclass(frozen=True)
class Planned:
    """A point of a study; ``config`` is empty while something in it is still to be chosen."""

    key: str
    levels: Mapping[str, str]
    config: JSON
    place: str
    impossible: str | None = None


@dataclass
class Agenda:
    """All points and all jobs that are known by now.

    Attributes:
        points: In the order of the study.
        jobs: Those that others need come first.
        selected: Choice -> what was chosen for whom, and by which figures.
        open: Choices that wait for candidates.
    """

    points: list[Planned] = field(default_factory=list)
    jobs: dict[tuple[str, Want], Job] = field(default_factory=dict)
    selected: JSON = field(default_factory=dict)
    open: int = 0


Measured = Callable[[str], JSON | str | None]
"""Key of a candidate -> what it measured; why there is nothing and never will be; or None: not yet."""


class Planner:
    """Makes agendas of one study; remembers configurations it has checked."""

    def __init__(self, study: StudyFile) -> None:
        self.study = study
        self._checked: dict[str, tuple[str, JSON]] = {}
        self._data: dict[str, str] = {}
        self._lots: dict[str, int] = {}
        self._rated = False
        rates = (patch.get("lr") for choice in study.choices for patch in choice.axis.levels.values())
        self._first_rate = next((rate for rate in rates if rate is not None), None)
        if "model" in study.common and study.common["model"] is None:
            raise HoldfastError(
                f"the scale '{study.scale}' has no model of its own",
                file=study.source.file,
                remedy="give one with --set model=FOLDER",
            )

    def agenda(self, measured: Measured) -> Agenda:
        """What there is to do, as far as it can be known.

        Args:
            measured: What candidates of choices came to.

        Raises:
            HoldfastError: A mistake in a configuration, with the line that set it.
        """
        found = Agenda()
        chosen: list[dict[tuple[str, ...], str | None]] = []
        for choice in self.study.choices:
            chosen.append(self._choose(choice, chosen, measured, found))
        self._check_rates()
        for cell in self.study.cells:
            patches = self._chosen_patches(cell, chosen)
            if isinstance(patches, str):
                found.points.append(self._waiting(cell, patches or None))
                continue
            key, config = self._check(cell, patches)
            place = self._place(cell, key)
            found.points.append(Planned(key, cell.levels, config, place))
            self._add(found, key, config, "scores", cell, place)
        return found

    def _waiting(self, cell: Combination, impossible: str | None) -> Planned:
        """A point whose configuration is not known yet: its key stands for its levels until it is."""
        key = _digest({"levels": dict(cell.levels), "common": self.study.common, "waiting": True})
        return Planned(key, cell.levels, {}, f"points/{key}", impossible)

    def _place(self, cell: Combination, key: str) -> str:
        # Studies of the old form keep a folder a recipe, by its name.
        return cell.levels["recipe"] if self.study.named else f"points/{key}"

    def _add(self, found: Agenda, key: str, config: JSON, want: Want, cell: Combination, place: str) -> None:
        if (key, want) in found.jobs:
            return
        needs = needed = None
        root = key
        if config.get("fuse") is not None:
            parent = self.study.of.get(cell.levels.get("recipe", ""))
            trained = {name: value for name, value in config.items() if name != "fuse"}
            needed = root = self._key(trained)
            needs = parent or f"points/{needed}"
            if parent is None:
                self._add(found, needed, trained, "artifact", cell, needs)
        lot = self._lots.setdefault(root, len(self._lots))
        found.jobs[key, want] = Job(
            key=key,
            want=want,
            place=place,
            title=cell.title,
            config=config,
            base=str(self.study.base),
            needs=needs,
            needed=needed,
            lot=lot,
        )

    def _check(self, cell: Combination, patches: Sequence[JSON]) -> tuple[str, JSON]:
        """Key and minimal configuration of a cell."""
        raw = self.study.settings(cell, [patch for patch in patches if "lr" not in patch])
        for patch in patches:
            if "lr" in patch:
                raw = self._with_rate(raw, patch["lr"], cell)
        raw["name"] = cell.title
        text = _canonical(raw)
        if text not in self._checked:
            from holdfast.config.loading import load_config, plain_config

            try:
                config = plain_config(load_config(raw))
                model_beside(str(config.get("model", "pocket")), self.study.base, alone=True)
            except HoldfastError as error:
                self.study.source.locate_in_cell(error, self.study, cell, patches)
                raise
            self._checked[text] = self._key(config), config
        return self._checked[text]

    def _with_rate(self, raw: JSON, rate: Any, cell: Combination) -> JSON:
        """A rate for every component that is tuned and names none itself; always the same for methods that read none,
        so that they are trained once."""
        patch: JSON = {}
        for component, part in raw.get("tune", {}).items():
            own = rated(part, rate, unread=self._first_rate)
            if own != part:
                patch[component] = own
        self._rated = self._rated or bool(patch)
        return merged(raw, {"tune": patch})

    def _check_rates(self) -> None:
        """A study that chooses a rate must have a component to give it to; here and there one may have its own.

        Raises:
            HoldfastError: Every component that is tuned names its own rate.
        """
        if self._rated or not any(choice.axis.name == "lr" for choice in self.study.choices):
            return
        if any("lr" not in patch for choice in self.study.choices for patch in choice.axis.levels.values()):
            return
        error = HoldfastError(
            "a rate is to be chosen, and every component that is tuned has its own",
            remedy="take lr out of the levels it is chosen for",
        )
        error.file, error.line = str(self.study.source.file), self.study.source.line("select", "lr")
        raise error

    def _key(self, config: JSON) -> str:
        """Sixteen digits for all that decides a result: not names and speed, but what data files hold."""
        parts = {name: value for name, value in config.items() if name not in ("name", "speed")}
        files = sorted({file for spec in _specs(config) for file in self._files(spec)})
        return _digest({"config": parts, "data": [self._content(file) for file in files]})

    def _files(self, spec: JSON) -> list[str]:
        named = [spec.get(part) for part in ("data", "validation", "test")]
        return [name for name in named if isinstance(name, str) and (self.study.base / path_of(name)).is_file()]

    def _content(self, file: str) -> str:
        if file not in self._data:
            self._data[file] = sha256(self.study.base / path_of(file))
        return self._data[file]

    def _choose(
        self,
        choice: Choice,
        before: Sequence[Mapping[tuple[str, ...], str | None]],
        measured: Measured,
        found: Agenda,
    ) -> dict[tuple[str, ...], str | None]:
        """Group of levels -> the chosen level; ``None`` while candidates are missing; :data:`NONE` and why."""
        groups: dict[tuple[str, ...], list[Combination]] = {}
        for cell in self.study.cells:
            groups.setdefault(tuple(cell.levels[axis] for axis in choice.per), []).append(cell)
        result: dict[tuple[str, ...], str | None] = {}
        rows = found.selected.setdefault(choice.axis.name, [])
        for group, cells in groups.items():
            figures: dict[str, JSON | str | None] = {}
            while untried := [level for level in choice.to_try(figures) if level not in figures]:
                for level in untried:
                    candidate = level, choice.axis.levels[level]
                    figures[level] = self._measure(choice, candidate, cells, before, measured, found)
            figures = {level: figures[level] for level in choice.axis.levels if level in figures}
            best = result[group] = _best(choice, figures)
            if best is None:
                found.open += 1
            rows.append(
                {
                    "for": dict(zip(choice.per, group, strict=True)),
                    "level": None if best is None or best.startswith(NONE) else best,
                    "rule": choice.rule,
                    "with": dict(choice.fixed),
                    "set": dict(choice.patch),
                    "figures": figures,
                    "once": _once(figures),
                }
            )
        return result

    def _measure(
        self,
        choice: Choice,
        candidate: tuple[str, JSON],
        cells: Sequence[Combination],
        before: Sequence[Mapping[tuple[str, ...], str | None]],
        measured: Measured,
        found: Agenda,
    ) -> JSON | str | None:
        """The mean of what the candidates of one level came to; why there is none; or None: not yet."""
        level, patch = candidate
        values: list[JSON] = []
        seen: set[str] = set()
        waiting, reason = False, None
        for cell in cells:
            stands_for = Combination({**cell.levels, **choice.fixed}, cell.own)
            patches = self._chosen_patches(stands_for, before)
            if isinstance(patches, str):
                waiting, reason = waiting or not patches, patches or reason
                continue
            key, config = self._check(stands_for, [*patches, choice.patch, patch])
            if key in seen:
                continue
            seen.add(key)
            title = Combination({**stands_for.levels, choice.axis.name: f"{choice.axis.name} {level}"})
            self._add(found, key, config, "validation", title, f"points/{key}")
            value = measured(key)
            if isinstance(value, str):
                reason = value
            elif value is None:
                waiting = True
            else:
                values.append(value)
        if waiting:
            return None
        if reason is not None:
            return reason
        sources = [sum(v["sources"].values()) / len(v["sources"]) for v in values if v["sources"]]
        return {
            "loss": sum(value["loss"] for value in values) / len(values),
            "exact": sum(value["exact"] for value in values) / len(values),
            "sources": sum(sources) / len(sources) if sources else None,
            "candidates": sorted(seen),
        }

    def _chosen_patches(
        self, cell: Combination, chosen: Sequence[Mapping[tuple[str, ...], str | None]]
    ) -> list[JSON] | str:
        """What was chosen for a cell; empty text: not yet; text: why nothing could be."""
        patches = []
        for choice, levels in zip(self.study.choices, chosen, strict=False):
            level = levels.get(tuple(cell.levels[axis] for axis in choice.per))
            if level is None:
                return ""
            if level.startswith(NONE):
                return f"no candidate for {choice.axis.name} could be measured: {level.removeprefix(NONE)}"
            patches.append(choice.axis.levels[level])
        return patches


def _best(choice: Choice, figures: Mapping[str, JSON | str | None]) -> str | None:
    """The level that the rule takes, the first in a tie; ``None``: one is missing; :data:`NONE` and why: all failed."""
    if any(value is None for value in figures.values()):
        return None
    there = {level: value for level, value in figures.items() if isinstance(value, dict)}
    if not there:
        return NONE + next(value for value in figures.values() if isinstance(value, str))

    return max(there, key=lambda level: choice.worth(there[level]))


def _once(figures: Mapping[str, JSON | str | None]) -> bool:
    """Whether all levels came to the same training, because nothing that was tuned reads what they set."""
    trainings = [value["candidates"] for value in figures.values() if isinstance(value, dict)]
    return len(trainings) == len(figures) > 1 and all(one == trainings[0] for one in trainings)


def _specs(config: JSON) -> list[JSON]:
    found = [config["target"]] if config.get("target") else []
    return [*found, *config.get("sources", []), *config.get("mix", [])]


def rated(part: Any, rate: Any, *, unread: Any) -> Any:
    """A component's section with a rate for every method on it that names none itself; the section if all do.

    Args:
        part: The section.
        rate: For methods whose steps it sizes.
        unread: What stands there for all others.
    """
    if isinstance(part, list | tuple):
        return [rated(one, rate, unread=unread) for one in part]
    named = {"method": part} if isinstance(part, str) else dict(part)
    if "then" in named:
        named["then"] = rated(named["then"], rate, unread=unread)
    if named.get("method", "frozen") == "frozen":
        return part
    if named.get("lr") is not None:
        return named
    return {**named, "lr": rate if _reads_rate(str(named["method"])) else unread}


@cache
def _reads_rate(method: str) -> bool:
    from holdfast.methods.registry import METHODS

    try:
        return METHODS.find(method).reads_rate
    except HoldfastError:
        return True  # its points fail with the reason


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def settled_in(folder: Path, job: Job) -> bool:
    """Whether the file that a job aims at is there."""
    return (folder / job.aim).is_file()

"""A study as its file says it: what all points share, the axes, what is chosen on validation data; mistakes by line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.config.documents import read_document
from holdfast.errors import HoldfastError, nearest, within
from holdfast.studies.axes import SECTIONS, check_apart, make_axis
from holdfast.studies.choices import Choice, read_choices
from holdfast.studies.grid import Axis, Combination, level_name, make_cells
from holdfast.studies.merging import at_path, beside, merged, paths_of, set_by
from holdfast.studies.registered import every_level, is_every
from holdfast.values import JSON

KEYS = (
    *("title", "about", "common", "axes", "zip", "exclude", "points", "select", "origins", "claims", "published"),
    *("groups", "scales", "recipes"),
)
"""What may stand at the top of a study file."""


@dataclass(frozen=True)
class StudyFile:
    """A study of one scale, ready to be planned.

    Attributes:
        title: One line.
        about: A paragraph.
        base: Where relative paths of its configurations start.
        common: What the configurations share.
        axes: By name, in order.
        cells: Every combination that is a point.
        choices: In the order in which they are made.
        named: Whether it has ``recipes`` in place of axes; each then has a folder of its name.
        of: Recipe -> the one whose training it takes over.
        claims: What is put on trial.
        groups: Axis -> name -> levels, for claims that speak of ``seen`` and ``unseen`` targets.
        published: Published figures.
        origins: Where settings come from, in words.
        scale: Its name; empty where the file has one scale.
        digest: Stands for file, scale and overrides.
        source: Finds lines.
    """

    title: str
    about: str
    base: Path
    common: JSON
    axes: Mapping[str, Axis]
    cells: Sequence[Combination]
    choices: Sequence[Choice]
    named: bool
    of: Mapping[str, str]
    claims: Sequence[str]
    groups: JSON
    published: JSON
    origins: JSON
    scale: str
    digest: str
    source: SourceText = field(repr=False, compare=False)

    def settings(self, cell: Combination, chosen: Sequence[JSON] = ()) -> JSON:
        """The run configuration of a cell as a mapping, not yet checked; ``chosen``: patches of choices."""
        result = dict(self.common)
        # Settings last, so that an option of a method is not replaced along with it.
        for name in sorted(cell.levels, key=lambda name: self.axes[name].setting):
            result = merged(result, self.patch(name, cell.levels[name], cell))
        for patch in (cell.own, *chosen):
            result = merged(result, patch)
        return result

    def patch(self, axis: str, level: str, cell: Combination) -> JSON:
        """What a level stands for; nothing where a cell that was written out says it itself."""
        known = self.axes[axis].known
        if level not in known and cell.own:
            return {}
        try:
            return beside(known[level], cell.levels)
        except KeyError as error:
            other, named = error.args
            problem = f"level '{level}' of axis '{axis}' says nothing beside '{named}' of axis '{other}'"
            remedy = "add it below 'by', {} for nothing, or exclude the combination"
            found = HoldfastError(problem, file=self.source.file, remedy=remedy)
            found.line = self.source.line("axes", axis, level)
            raise found from None


class SourceText:
    """The text of a study file, to find the line of a mistake."""

    def __init__(self, file: Path, text: str, prefix: tuple[str, ...] = ()) -> None:
        self.file, self.text, self.prefix = file, text, prefix

    def line(self, *path: str) -> int | None:
        """The line of the deepest part of ``path`` that the file has; what a scale says goes before what all say."""
        inside = self._line((*self.prefix, *path)) if self.prefix else None
        if inside is not None and inside != self._line(self.prefix):
            return inside
        return self._line(path)

    def _line(self, path: Sequence[str]) -> int | None:
        """As :func:`holdfast.config.loading.line_of`; an axis may be called ``train.steps``."""
        from holdfast.config.loading import line_of

        joined: list[str] = []
        for part in path:
            if joined and f"{joined[-1]}.{part}" in self._keys:
                joined[-1] += f".{part}"
            else:
                joined.append(part)
        return line_of(self.text, joined)

    @property
    def _keys(self) -> set[str]:
        return set(re.findall(r"[\w]+(?:\.[\w]+)+(?=[\"']?\s*:)", self.text))

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Inside, a mistake that names no file is one of this file, at the line of its key."""
        try:
            yield
        except HoldfastError as error:
            if error.file is None:
                error.file = str(self.file)
                error.line = error.line or (self.line(*error.key) if error.key else None)
            raise

    def locate_in_cell(
        self, error: HoldfastError, study: StudyFile, cell: Combination, chosen: Sequence[JSON] = ()
    ) -> None:
        """Give a mistake in a cell's configuration the line that set it: a choice's, an axis's, else the common one.

        Args:
            error: The mistake.
            study: Of the cell.
            cell: Where it was made.
            chosen: Patches of choices, as in :meth:`StudyFile.settings`.
        """
        if error.file is not None:
            return
        error.file = str(self.file)
        path = error.key
        for choice in study.choices:
            own = paths_of(choice.patch) if any(patch is choice.patch for patch in chosen) else ()
            if path and any(setting[: len(path)] == path[: len(setting)] for setting in own):
                error.line = self.line("select", choice.axis.name, "set", *path)
                return
        for name, level in reversed(list(cell.levels.items())):
            for setting in paths_of(study.patch(name, level, cell)):
                if path and setting[: len(path)] == path[: len(setting)]:
                    error.line = self.line("axes", name, level, *path) or self.line("recipes", level, *path)
                    return
        error.line = self.line("common", *path) if path else None


def read_study_file(
    file: Path,
    *,
    overrides: Sequence[str] = (),
    scale: str | None = None,
    base: Path | None = None,
    common: Mapping[str, Any] | None = None,
    expand: bool = True,
) -> StudyFile:
    """Read a study.

    Args:
        file: The YAML file.
        overrides: ``key=value`` on the common configuration, or ``axes.NAME=[...]`` for fewer or other levels.
        scale: Which of its ``scales``; default: the first.
        base: Where relative paths of its configurations start; default: the file's folder.
        common: Further common settings, merged into the file's.
        expand: Find the levels of axes that take everything registered; without it one level stands for them.

    Raises:
        HoldfastError: A mistake, in one sentence with its line.
    """
    text, raw = read_document(file, what="the study")
    if not isinstance(raw, dict):
        raise HoldfastError("the study is not a mapping of keys", file=file, remedy="write key: value lines")
    raw = {str(key): value for key, value in raw.items()}
    name, prefix, more = _scale(raw, scale, SourceText(file, text))
    source = SourceText(file, text, prefix)
    with source.locating():
        _check_twice(text)
        _check_keys(raw)
        for axis, written in _mapping(raw, "axes").items():
            if is_every(written):
                raw["axes"][axis] = every_level(written, f"axes.{axis}", expand=expand)
        shared = merged(_mapping(raw, "common"), common or {})
        axes = _axes(raw)
        for part in overrides:
            if part.startswith("axes."):
                _override_axis(axes, part)
        shared = _overridden(shared, [part for part in overrides if not part.startswith("axes.")], axes)
        zipped, exclude, own = (_list(raw, key) for key in ("zip", "exclude", "points"))
        of, origins = _recipes(raw, axes)
        cells = make_cells(axes, zipped=zipped, exclude=exclude, own=own)
        check_apart(axes)
        choices = read_choices(_mapping(raw, "select"), axes)
        digest = hashlib.sha256("\0".join((text, more, name, *overrides, repr(common))).encode()).hexdigest()
        return StudyFile(
            title=str(raw.get("title", file.stem)),
            about=" ".join(str(raw.get("about", "")).split()),
            base=file.resolve().parent if base is None else base,
            common=shared,
            axes=axes,
            cells=cells,
            choices=choices,
            named="recipes" in raw,
            of=of,
            claims=_claims(raw),
            groups=_groups(raw, axes, fewer=bool(name) or any(part.startswith("axes.") for part in overrides)),
            published=_mapping(raw, "published"),
            origins=_mapping(raw, "origins") | origins,
            scale=name,
            digest=digest,
            source=source,
        )


def scales_of(file: Path) -> dict[str, str]:
    """The scales of a study file and what each says of itself; empty where it has one only."""
    _, raw = read_document(file, what="the study")
    scales = raw.get("scales") if isinstance(raw, dict) else None
    return {str(name): str((part or {}).get("about", "")) for name, part in (scales or {}).items()}


def _scale(raw: JSON, wanted: str | None, source: SourceText) -> tuple[str, tuple[str, ...], str]:
    """Put what a scale says onto what all say; its name, its place in the file, and the text of what it is like."""
    scales = raw.pop("scales", None)
    with source.locating():
        if scales is None:
            if wanted is not None:
                raise HoldfastError(f"the study has no scales, so none is '{wanted}'", remedy="leave --scale out")
            return "", (), ""
        if not isinstance(scales, dict) or not scales or not all(isinstance(part, dict) for part in scales.values()):
            raise HoldfastError(
                "'scales' is not a mapping of scales", key="scales", remedy="write scales: {pocket: ...}"
            )
        name = wanted if wanted is not None else next(iter(scales))
        if name not in scales:
            raise HoldfastError(f"the study has no scale '{name}'", remedy=nearest(name, map(str, scales)))
        own = dict(scales[name])
        said, text = own.pop("about", None), ""
        if said is not None:
            raw["about"] = f"{raw.get('about', '')} At this scale: {str(said).strip().rstrip('.')}.".strip()
        like = own.pop("like", None)
        if like is not None:
            text, shared = read_document(source.file.parent / "scales" / f"{like}.yaml", what="what a scale is like")
            _put(raw, shared if isinstance(shared, dict) else {})
        _put(raw, own)
    return name, ("scales", name), text


def _put(raw: JSON, part: Mapping[str, Any]) -> None:
    for key, value in part.items():
        if key in ("common", "axes", "published", "origins", "select", "groups") and isinstance(value, dict):
            join = merged if key == "common" else _replaced
            raw[key] = join(raw.get(key) or {}, value)
        else:
            raw[key] = value


def _replaced(below: Mapping[str, Any], above: Mapping[str, Any]) -> JSON:
    """Entry by entry, each as a whole; ``null`` takes one away."""
    return {key: value for key, value in {**below, **above}.items() if value is not None}


def _check_twice(text: str) -> None:
    from holdfast.config.loading import written_twice

    twice = written_twice(text)
    if twice is not None:
        error = HoldfastError(f"key '{twice[0]}' stands twice", remedy="keep one of them")
        error.line = twice[1]
        raise error


def _check_keys(raw: JSON) -> None:
    for key in raw:
        if key not in KEYS:
            raise HoldfastError(f"unknown key '{key}'", key=key, remedy=nearest(key, KEYS))
    if "axes" in raw and "recipes" in raw:
        raise HoldfastError("a study has axes or recipes, not both", key="recipes", remedy="make the recipes an axis")


def _mapping(raw: JSON, key: str) -> JSON:
    value = raw.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise HoldfastError(f"'{key}' is not a mapping of keys", key=key, remedy="write key: value lines below it")
    return {str(name): part for name, part in value.items()}


def _list(raw: JSON, key: str) -> list[Any]:
    value = raw.get(key)
    if value is None:
        return []
    inner = {"zip": list, "exclude": dict, "points": dict}.get(key, object)
    if not isinstance(value, list) or not all(isinstance(part, inner) for part in value):
        shape = {"zip": "[[one, other]]", "exclude": "[{axis: level}]", "points": "[{axis: level, set: {}}]"}
        raise HoldfastError(f"'{key}' is not such a list", key=key, remedy=f"write {key}: {shape.get(key, '[...]')}")
    return value


def _claims(raw: JSON) -> list[str]:
    from holdfast.results.claims.catalogue import find_claim

    with within("claims"):
        return [find_claim(str(claim)).name for claim in _list(raw, "claims")]


def _groups(raw: JSON, axes: Mapping[str, Axis], *, fewer: bool) -> JSON:
    """Groups of the levels of an axis, by name; ``fewer``: an override or a scale may have left levels out."""
    found: JSON = {}
    for name, groups in _mapping(raw, "groups").items():
        if name not in axes and fewer:
            continue
        if name not in axes:
            raise HoldfastError(f"there is no axis '{name}'", key=f"groups.{name}", remedy=nearest(name, axes))
        if not isinstance(groups, dict) or not all(isinstance(levels, list) for levels in groups.values()):
            remedy = "write {seen: [one, other]}"
            raise HoldfastError("the groups are not lists of levels", key=f"groups.{name}", remedy=remedy)
        found[name] = {str(group): [level_name(level) for level in levels] for group, levels in groups.items()}
        for level in (level for levels in found[name].values() for level in levels):
            if level not in axes[name].levels and not fewer:
                problem = f"axis '{name}' has no level '{level}'"
                raise HoldfastError(problem, key=f"groups.{name}", remedy=nearest(level, axes[name].levels))
    return found


def _axes(raw: JSON) -> dict[str, Axis]:
    if "recipes" in raw:
        return {}
    named = _mapping(raw, "axes")
    if not named:
        raise HoldfastError("the study varies nothing", key="axes", remedy="add axes: {method: {...}, seed: [1, 2]}")
    return {name: make_axis(name, levels, f"axes.{name}") for name, levels in named.items()}


def _overridden(common: JSON, overrides: Sequence[str], axes: Mapping[str, Axis]) -> JSON:
    from holdfast.config.loading import set_key

    for part in overrides:
        path = tuple(part.partition("=")[0].strip().split("."))
        if path[0] not in SECTIONS:
            raise HoldfastError(f"--set {part}: unknown key '{path[0]}'", remedy=nearest(path[0], (*SECTIONS, "axes")))
        for axis in axes.values():
            for patch in axis.levels.values():
                if any(found[: len(path)] == path for found in set_by(patch)):
                    raise HoldfastError(
                        f"--set {part} would be undone by axis '{axis.name}'",
                        remedy=f"choose its levels with --set axes.{axis.name}=[...]",
                    )
        set_key(common, part)
    return common


def _override_axis(axes: dict[str, Axis], override: str) -> None:
    """Fewer levels of an axis by name, or other values of one that is a setting."""
    import yaml

    key, equals, text = override.partition("=")
    name = key.removeprefix("axes.").strip()
    if name not in axes:
        raise HoldfastError(f"--set {override}: there is no axis '{name}'", remedy=nearest(name, axes))
    try:
        wanted = yaml.safe_load(text) if equals else None
    except yaml.YAMLError as error:
        raise HoldfastError(f"--set {override}: the value is not YAML", remedy="write [one, other]") from error
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if not wanted or any(value is None or isinstance(value, list | dict) for value in wanted):
        raise HoldfastError(f"--set {override}: axis '{name}' needs a level", remedy="write [one, other]")
    axis = axes[name]
    levels: dict[str, JSON] = {}
    for value in wanted:
        level = level_name(value)
        if level not in axis.levels and not axis.setting:
            raise HoldfastError(
                f"--set {override}: axis '{name}' has no level '{level}'", remedy=nearest(level, axis.levels)
            )
        levels[level] = axis.levels[level] if level in axis.levels else at_path(name.split("."), value)
    axes[name] = replace(axis, levels=levels, spare=axis.levels)


def _recipes(raw: JSON, axes: dict[str, Axis]) -> tuple[dict[str, str], JSON]:
    """The old form: recipes by name, which may take over each other's training; they become an axis."""
    rows = _mapping(raw, "recipes")
    levels: dict[str, JSON] = {}
    of: dict[str, str] = {}
    origins: JSON = {}
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise HoldfastError(f"recipe '{name}' is not a mapping", key=f"recipes.{name}", remedy="write tune: ...")
        row = dict(row)
        parent = row.pop("of", None)
        if parent is not None:
            if parent not in levels:
                raise HoldfastError(
                    f"recipe '{name}' builds on '{parent}', which does not come before it", key=f"recipes.{name}.of"
                )
            of[name] = str(parent)
        origins[name] = str(row.pop("origin", ""))
        levels[name] = row
    if rows:
        axes["recipe"] = Axis("recipe", levels)
    return of, origins

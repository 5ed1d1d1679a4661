"""One axis of a study as it is written, and axes that contradict each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.errors import HoldfastError, nearest
from holdfast.studies.grid import Axis, level_name
from holdfast.studies.merging import BY, NAMED, at_path, set_by
from holdfast.values import JSON

SECTIONS = (
    *("model", "trust_remote_code", "tune", "keep", "fuse", "target", "sources", "train", "evaluate", "speed", "load"),
    *("mix", "seed", "skip_bad", "name"),
)
"""The sections of a run configuration; ``tests/studies`` holds them against the schema, which is slow to import."""


def make_axis(name: str, written: Any, key: str, *, settable: bool = False) -> Axis:
    """An axis from what stands in the file: patches by name, values by name, or values alone.

    Args:
        name: The axis.
        written: Its levels.
        key: Where it stands.
        settable: Plain values mean something although the name is the path of no setting: a rate that is chosen.

    Raises:
        HoldfastError: No levels, a level without a name, or a patch of something that is no setting.
    """
    setting = name.split(".")[0] in SECTIONS or settable
    if not isinstance(written, list | dict) or not written:
        raise HoldfastError(f"axis '{name}' has no levels", key=key, remedy="list them, or give each a name")
    if isinstance(written, list):
        if any(isinstance(value, dict | list) for value in written):
            raise HoldfastError(
                f"a level of axis '{name}' has no name", key=key, remedy="write name: {settings} for each level"
            )
        rows = [(level_name(value), value) for value in written]
    else:
        rows = [(level_name(level), value) for level, value in written.items()]
    levels: dict[str, JSON] = {}
    for level, value in rows:
        if level in levels:
            raise HoldfastError(f"axis '{name}' has the level '{level}' twice", key=key, remedy="drop one")
        if isinstance(value, dict) or value is None:
            for place, patch in _patches(name, level, value or {}, f"{key}.{level}"):
                _check_sections(name, level, patch, place)
            levels[level] = dict(value or {})
        elif not setting:
            raise HoldfastError(
                f"axis '{name}' is the path of no setting, so '{level}' says nothing",
                key=key,
                remedy="name it as a setting (train.steps), or give each level its settings",
            )
        else:
            levels[level] = at_path(("lr",) if settable else name.split("."), value)
    return Axis(name, levels, setting)


def _patches(name: str, level: str, value: JSON, key: str) -> list[tuple[str, JSON]]:
    """The patches of a level with their places: its own, and those for levels of other axes."""
    found = [(key, {part: inner for part, inner in value.items() if part != BY})]
    tables = value.get(BY, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise HoldfastError(
            f"'by' in level '{level}' of axis '{name}' is no table",
            key=f"{key}.{BY}",
            remedy="write by: {method: {lora: {tune: ...}}}",
        )
    for axis, table in tables.items():
        for other, patch in table.items():
            if not isinstance(patch, dict):
                remedy = "write the settings, or {} for none"
                raise HoldfastError(f"'{other}' below 'by' is no patch", key=f"{key}.{BY}.{axis}", remedy=remedy)
            found.append((f"{key}.{BY}.{axis}.{other}", patch))
        # YAML reads on, off and numbers as what they are; levels have names.
        tables[axis] = {level_name(other): patch for other, patch in table.items()}
    return found


def _check_sections(name: str, level: str, patch: JSON, key: str) -> None:
    for part in patch:
        if part not in SECTIONS:
            raise HoldfastError(
                f"unknown key '{part}' in level '{level}' of axis '{name}'",
                key=f"{key}.{part}",
                remedy=nearest(str(part), (*SECTIONS, BY)),
            )


def check_apart(axes: Mapping[str, Axis]) -> None:
    """Two axes that set the same setting contradict each other: the later one would win in silence.

    Raises:
        HoldfastError: There are two such axes, or one replaces the component of which an earlier one sets an option.
    """
    ordered = sorted(axes.values(), key=lambda axis: axis.setting)  # as they are put onto each other
    sets = [(axis.name, {path for patch in axis.levels.values() for path in set_by(patch)}) for axis in ordered]
    for place, (first, earlier) in enumerate(sets):
        for second, later in sets[place + 1 :]:
            for path in sorted(earlier):
                if any(path[:-1] == other[:-1] and other[-1] in NAMED and path != other for other in later):
                    raise HoldfastError(
                        f"axis '{second}' replaces {'.'.join(path[:-1])}, of which axis '{first}' sets '{path[-1]}'",
                        key=f"axes.{first}",
                        remedy=f"write axis '{second}' before axis '{first}'",
                    )
                clash = next((other for other in later if _overlap(path, other)), None)
                if clash is not None:
                    shorter = path if len(path) < len(clash) else clash
                    raise HoldfastError(
                        f"axes '{first}' and '{second}' both set {'.'.join(shorter)}",
                        key=f"axes.{second}",
                        remedy="let one axis set it",
                    )


def _overlap(first: Sequence[str], second: Sequence[str]) -> bool:
    same = min(len(first), len(second))
    return tuple(first[:same]) == tuple(second[:same]) and not _refines(first, second)


def _refines(first: Sequence[str], second: Sequence[str]) -> bool:
    """``target: pocket:digits`` on one axis and ``target.limit: 100`` on another are no contradiction."""
    short, long = sorted((first, second), key=len)
    return len(short) < len(long) and short[-1] in ("target", "vision", "connector", "llm", "fuse")

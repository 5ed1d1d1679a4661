"""One axis of a study as it is written, and axes that contradict each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.errors import HoldfastError, nearest
from holdfast.studies.grid import Axis, level_name
from holdfast.studies.merging import NAMED, at_path, paths_of
from holdfast.values import JSON

SECTIONS = (
    *(
        "model",
        "trust_remote_code",
        "tune",
        "keep",
        "fuse",
        "target",
        "sources",
        "mix",
        "train",
        "evaluate",
        "speed",
        "load",
    ),
    *("seed", "skip_bad", "name"),
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
            unknown = next((part for part in value or {} if part not in SECTIONS), None)
            if unknown is not None:
                raise HoldfastError(
                    f"unknown key '{unknown}' in level '{level}' of axis '{name}'",
                    key=f"{key}.{level}.{unknown}",
                    remedy=nearest(str(unknown), SECTIONS),
                )
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


def check_apart(axes: Mapping[str, Axis]) -> None:
    """Two axes that set the same setting contradict each other: the later one would win in silence.

    Raises:
        HoldfastError: There are two such axes, or one replaces the component of which an earlier one sets an option.
    """
    ordered = sorted(axes.values(), key=lambda axis: axis.setting)  # as they are put onto each other
    sets = [(axis.name, {path for patch in axis.levels.values() for path in paths_of(patch)}) for axis in ordered]
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

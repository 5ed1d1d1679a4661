"""The cells of a study: the product of its axes, axes that move together, what is left out, and cells of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from holdfast.errors import HoldfastError, nearest
from holdfast.values import JSON


@dataclass(frozen=True)
class Axis:
    """What a study varies.

    Attributes:
        name: In tables; the path of a setting where its levels are plain values.
        levels: Name of a level -> the patch of the run configuration that it stands for.
        setting: Whether the axis is named by the path of a setting, so that any value means something.
        spare: Levels that the file has and that an override left out; candidates of a choice may still stand on them.
    """

    name: str
    levels: Mapping[str, JSON]
    setting: bool = False
    spare: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, JSON]:
        """Its levels and those that were left out."""
        return {**self.spare, **self.levels}

    @property
    def left_out(self) -> set[str]:
        """Levels that the file has and an override took away."""
        return set(self.spare) - set(self.levels)


@dataclass(frozen=True)
class Combination:
    """One combination of levels; ``own`` is the patch of a cell that was written out."""

    levels: Mapping[str, str]
    own: JSON = field(default_factory=dict)

    @property
    def title(self) -> str:
        """For people."""
        return levels_in_words(self.levels)


def make_cells(
    axes: Mapping[str, Axis],
    *,
    zipped: Sequence[Sequence[str]] = (),
    exclude: Sequence[Mapping[str, Any]] = (),
    own: Sequence[Mapping[str, Any]] = (),
) -> list[Combination]:
    """Every cell once, those of the product first, in the order of the axes.

    Args:
        axes: By name.
        zipped: Groups of axes whose first levels belong together, then their second ones...
        exclude: Combinations to leave out; a cell goes when all levels that one of them names are its own.
        own: Cells written out: a level for every axis, and in ``set`` what else is different. A level that no axis has
            is allowed where ``set`` says what it means; on one that an override left out there is no cell.

    Raises:
        HoldfastError: An axis or level that is not there, axes of different length that are to move together, an
            exclusion that hits nothing, the same cell twice, or no cell at all; ``key`` is the place in the file.
    """
    cells = [Combination(levels) for levels in _product(axes, zipped)]
    for place, rule in enumerate(exclude):
        wanted = {axis: _levels(axes, axis, value, f"exclude.{place}") for axis, value in rule.items()}
        kept = [cell for cell in cells if not all(cell.levels[axis] in levels for axis, levels in wanted.items())]
        if len(kept) == len(cells) and not any(axes[axis].left_out for axis in wanted):
            raise HoldfastError(
                "this exclusion leaves nothing out",
                key=f"exclude.{place}",
                remedy="drop it, or mend its levels; an earlier one may have left the same cells out",
            )
        cells = kept
    seen = {tuple(cell.levels.items()) for cell in cells}
    for place, row in enumerate(own):
        cell = _own(axes, row, f"points.{place}")
        if any(level in axes[name].left_out for name, level in cell.levels.items()):
            continue
        names = tuple(cell.levels.items())
        if names in seen:
            raise HoldfastError(
                f"the point {cell.title} is there already",
                key=f"points.{place}",
                remedy="exclude the other one, or give this one a level of its own",
            )
        seen.add(names)
        cells.append(cell)
    if not cells:
        raise HoldfastError("the study has no points", key="exclude" if exclude else "axes", remedy="name some levels")
    return cells


def _product(axes: Mapping[str, Axis], zipped: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    groups: list[list[str]] = []
    for place, names in enumerate(zipped):
        for name in names:
            if name not in axes:
                raise HoldfastError(f"there is no axis '{name}'", key=f"zip.{place}", remedy=nearest(name, axes))
            if any(name in group for group in groups):
                raise HoldfastError(
                    f"axis '{name}' moves with two others", key=f"zip.{place}", remedy="join the groups"
                )
        lengths = {len(axes[name].levels) for name in names}
        if len(lengths) != 1:
            sizes = ", ".join(f"{name} has {len(axes[name].levels)}" for name in names)
            raise HoldfastError(
                f"axes that move together need as many levels each ({sizes})",
                key=f"zip.{place}",
                remedy="give them the same number of levels",
            )
        groups.append(list(names))
    for name in axes:
        if not any(name in group for group in groups):
            groups.append([name])
    order = list(axes)
    groups.sort(key=lambda group: min(order.index(name) for name in group))
    steps = [list(zip(*(axes[name].levels for name in group), strict=True)) for group in groups]
    found = []
    for combination in product(*steps):
        levels = {
            name: level
            for group, chosen in zip(groups, combination, strict=True)
            for name, level in zip(group, chosen, strict=True)
        }
        found.append({name: levels[name] for name in order})
    return found


def _levels(axes: Mapping[str, Axis], axis: str, value: Any, key: str) -> set[str]:
    if axis not in axes:
        raise HoldfastError(f"there is no axis '{axis}'", key=f"{key}.{axis}", remedy=nearest(axis, axes))
    names = {level_name(one) for one in (value if isinstance(value, list) else [value])}
    for name in names - set(axes[axis].known):
        raise HoldfastError(
            f"axis '{axis}' has no level '{name}'", key=f"{key}.{axis}", remedy=nearest(name, axes[axis].levels)
        )
    return names


def _own(axes: Mapping[str, Axis], row: Mapping[str, Any], key: str) -> Combination:
    own = row.get("set", {})
    if not isinstance(own, Mapping):
        raise HoldfastError("'set' is not a mapping of settings", key=f"{key}.set", remedy="write set: {train: {...}}")
    for name in row:
        if name not in axes and name != "set":
            raise HoldfastError(f"there is no axis '{name}'", key=f"{key}.{name}", remedy=nearest(name, axes))
    levels = {}
    for name in axes:
        if name not in row:
            raise HoldfastError(f"the point has no level for axis '{name}'", key=key, remedy="name one")
        levels[name] = level_name(row[name])
        if not own:
            _levels(axes, name, row[name], key)
    return Combination(levels, dict(own))


def levels_in_words(levels: Mapping[str, str]) -> str:
    """Levels in a line; a number says of which axis it is: ``lora, digits, seed 1``."""
    return ", ".join(
        f"{axis} {level}" if axis != "recipe" and _number(level) else level for axis, level in levels.items()
    )


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def level_name(value: Any) -> str:
    """The name of a level: YAML reads a bare ``on`` as true, and tables want no quotes."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)

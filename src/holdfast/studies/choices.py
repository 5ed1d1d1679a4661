"""What a study chooses on validation data alone: the axis, for whom, by which candidates, by which rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from holdfast.errors import HoldfastError, nearest
from holdfast.studies.axes import make_axis
from holdfast.studies.grid import Axis, level_name
from holdfast.values import JSON

Rule = Literal["validation_loss", "validation_score", "validation_sum"]
RULES: dict[Rule, str] = {
    "validation_loss": "the lowest loss on the target's validation part",
    "validation_score": "the largest share of the target's validation items answered exactly",
    "validation_sum": "the largest share of validation items answered exactly, that of the target and the mean of the "
    "sources together",
}


@dataclass(frozen=True)
class Choice:
    """An axis whose level is chosen on validation data and never seen in the result.

    Attributes:
        axis: What is chosen: ``lr``, or what the levels' patches are about.
        per: Axes by whose levels a choice is made each.
        fixed: Axis -> the level that candidates have there; what is in neither is averaged over.
        rule: How.
        start: The level at which to begin, where not all are tried but only those beside the best so far.
        patch: What candidates have beside their level and points have not, such as fewer steps.
    """

    axis: Axis
    per: tuple[str, ...]
    fixed: Mapping[str, str]
    rule: Rule
    start: str | None = None
    patch: JSON = field(default_factory=dict)

    def worth(self, figures: JSON) -> float:
        """What the rule makes of the figures of one level; more is better."""
        if self.rule == "validation_loss":
            return -float(figures["loss"])
        sources = float(figures["sources"] or 0.0) if self.rule == "validation_sum" else 0.0
        return float(figures["exact"]) + sources

    def to_try(self, figures: Mapping[str, JSON | str | None]) -> list[str]:
        """The levels that the choice needs, given what those that were tried came to.

        All of them; or, with a start, that level and its two neighbours, and then the neighbours of the best, until
        both were tried. Where the worth rises to one top and falls behind it, trying all finds the same level.

        Args:
            figures: Level -> its figures; why there are none; or None: not yet.
        """
        levels = list(self.axis.levels)
        if self.start is None:
            return levels
        wanted, middle = set[int](), levels.index(self.start)
        while True:
            wanted |= {place for place in range(middle - 1, middle + 2) if 0 <= place < len(levels)}
            found = {place: figures.get(levels[place]) for place in sorted(wanted)}
            there = {place: self.worth(value) for place, value in found.items() if isinstance(value, dict)}
            best = max(there, key=there.__getitem__, default=middle)
            if best == middle or any(value is None for value in found.values()):
                return [levels[place] for place in found]
            middle = best


def read_choices(select: JSON, axes: Mapping[str, Axis]) -> list[Choice]:
    """The section ``select`` of a study file.

    Raises:
        HoldfastError: An unknown key, axis, level or rule, or an axis that the study shows as well.
    """
    found = []
    for name, row in select.items():
        key = f"select.{name}"
        if not isinstance(row, dict):
            raise HoldfastError(
                f"'{key}' is not a mapping", key=key, remedy="write {axis: lr, levels: [...], per: [...]}"
            )
        known = ("axis", "levels", "per", "with", "set", "rule", "start")
        for part in row:
            if part not in known:
                raise HoldfastError(f"unknown key '{part}'", key=f"{key}.{part}", remedy=nearest(str(part), known))
        axis = str(row.get("axis", name))
        if axis in axes:
            raise HoldfastError(
                f"'{axis}' is an axis of the study and is to be chosen as well",
                key=key,
                remedy="leave it out of axes: the result does not show what was chosen",
            )
        levels = make_axis(axis, row.get("levels"), f"{key}.levels", settable=axis == "lr")
        per = _names(row.get("per", []), axes, f"{key}.per")
        fixed_row = row.get("with", {})
        if not isinstance(fixed_row, dict):
            raise HoldfastError("'with' is not a mapping", key=f"{key}.with", remedy="write with: {seed: 1}")
        _names(list(fixed_row), axes, f"{key}.with")
        fixed = {str(name): level_name(level) for name, level in fixed_row.items()}
        for name, level in fixed.items():
            if name in per:
                raise HoldfastError(
                    f"axis '{name}' stands in per and in with", key=f"{key}.with", remedy="take it out of one"
                )
            if level not in axes[name].known:
                raise HoldfastError(
                    f"axis '{name}' has no level '{level}'",
                    key=f"{key}.with.{name}",
                    remedy=nearest(level, axes[name].known),
                )
        patch = row.get("set", {})
        if not isinstance(patch, dict):
            raise HoldfastError("'set' is not a mapping", key=f"{key}.set", remedy="write set: {train: {steps: 100}}")
        rule = row.get("rule", "validation_loss")
        if rule not in RULES:
            raise HoldfastError(f"unknown rule '{rule}'", key=f"{key}.rule", remedy=nearest(str(rule), RULES))
        start = None if row.get("start") is None else level_name(row["start"])
        if start is not None and start not in levels.levels:
            raise HoldfastError(
                f"'{start}' is none of the levels", key=f"{key}.start", remedy=nearest(start, levels.levels)
            )
        found.append(Choice(levels, tuple(per), fixed, cast("Rule", rule), start, patch))
    return found


def _names(value: Any, axes: Mapping[str, Axis], key: str) -> list[str]:
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name not in axes:
            raise HoldfastError(f"there is no axis '{name}'", key=key, remedy=nearest(str(name), axes))
    return [str(name) for name in names]

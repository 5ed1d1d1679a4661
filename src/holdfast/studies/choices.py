"""What a study chooses on validation data alone: the axis, for whom, by which candidates, by which rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from holdfast.errors import HoldfastError, nearest
from holdfast.studies.axes import make_axis
from holdfast.studies.grid import Axis, level_name
from holdfast.values import JSON

Rule = Literal["validation_loss", "validation_score", "validation_sum"]
RULES: dict[Rule, str] = {
    "validation_loss": "the lowest loss on the target's validation part",
    "validation_score": "the largest share of the target's validation items answered exactly",
    "validation_sum": "the largest sum of that share and its mean over the sources' validation parts",
}


@dataclass(frozen=True)
class Choice:
    """An axis whose level is chosen on validation data and never seen in the result.

    Attributes:
        axis: What is chosen: ``lr``, or what the levels' patches are about.
        per: Axes by whose levels a choice is made each.
        fixed: Axis -> the level that candidates have there; what is in neither is averaged over.
        rule: How.
    """

    axis: Axis
    per: tuple[str, ...]
    fixed: Mapping[str, str]
    rule: Rule


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
        known = ("axis", "levels", "per", "with", "rule")
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
        rule = row.get("rule", "validation_loss")
        if rule not in RULES:
            raise HoldfastError(f"unknown rule '{rule}'", key=f"{key}.rule", remedy=nearest(str(rule), RULES))
        found.append(Choice(levels, tuple(per), fixed, cast("Rule", rule)))
    return found


def _names(value: Any, axes: Mapping[str, Axis], key: str) -> list[str]:
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name not in axes:
            raise HoldfastError(f"there is no axis '{name}'", key=key, remedy=nearest(str(name), axes))
    return [str(name) for name in names]

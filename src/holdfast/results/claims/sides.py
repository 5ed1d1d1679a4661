"""From the words of a claim to the levels that a study has; or what the study would need."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from holdfast.results.claims.catalogue import ClaimTest, Levels
from holdfast.results.points import Results

Side = Mapping[str, tuple[str, ...]]
"""Axis of the study -> its levels that are meant."""


@dataclass(frozen=True)
class Sides:
    """One comparison in the study's own words.

    Attributes:
        first, second: The two sides; an empty second is the base.
        within: Levels that are looked at.
    """

    first: Side
    second: Side
    within: Side


class MissingLevels(Exception):  # noqa: N818 - it is no mistake: the study asks something else
    """The study lacks what the claim needs."""


def sides_of(test: ClaimTest, results: Results) -> list[Sides]:
    """Every comparison that a test asks for.

    Raises:
        MissingLevels: The study lacks an axis or a level; the message says which.
    """
    within = _side(test.within, results)
    if test.each:
        axis = _axis(test.each, results)
        levels = within.get(axis) or results.axes[axis]
        places: list[Side] = [within | {axis: (level,)} for level in levels]
    else:
        places = [within]
    return [Sides(first, second, place) for place in places for first, second in _pairs(test, results)]


def _pairs(test: ClaimTest, results: Results) -> list[tuple[Side, Side]]:
    if test.against == "base":
        return [(_side(test.levels, results), {})]
    if test.against == "others":
        first = _side(test.levels, results)
        others = _others(first, results)
        if not others:
            raise MissingLevels(f"other levels of {' and '.join(first)}")
        return [(first, other) for other in others]
    if any(levels == ("next",) for levels in test.levels.values()):
        return _neighbours(test.levels, results)
    return [_both(test.levels, test.against, results)]


def _both(levels: Levels, against: Levels, results: Results) -> tuple[Side, Side]:
    """Both sides, on axes that have the levels of both."""
    first: dict[str, tuple[str, ...]] = {}
    second: dict[str, tuple[str, ...]] = {}
    for written, names in levels.items():
        others = against[written]
        for axis in written.split("|"):
            found = [_level(axis, name, results) for name in (*names, *others)]
            if axis in results.axes and None not in found:
                first[axis] = _flat(found[: len(names)])
                second[axis] = _flat(found[len(names) :])
                break
        else:
            raise MissingLevels(f"{_spoken(written)} with {_listed(names)} and {_listed(others)}")
    if first == second:
        raise MissingLevels(f"two levels of {' and '.join(first)}")
    return first, second


def _others(first: Side, results: Results) -> list[Side]:
    """Every other combination on the same axes."""
    combinations: list[dict[str, tuple[str, ...]]] = [{}]
    for axis in first:
        combinations = [c | {axis: (level,)} for c in combinations for level in results.axes[axis]]
    return [c for c in combinations if any(c[axis][0] not in first[axis] for axis in first)]


def _neighbours(levels: Levels, results: Results) -> list[tuple[Side, Side]]:
    axis = _axis(next(iter(levels)), results)
    ordered = numbers_of(results.axes[axis])
    if len(ordered) < 2:
        raise MissingLevels(f"at least two numbers on {axis}")
    return [({axis: (high,)}, {axis: (low,)}) for low, high in itertools.pairwise(ordered)]


def _side(levels: Levels, results: Results) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for written, names in levels.items():
        for axis in written.split("|"):
            known = [_level(axis, name, results) for name in names]
            if axis in results.axes and None not in known:
                found[axis] = _flat(known)
                break
        else:
            raise MissingLevels(f"{_spoken(written)} with {_listed(names)}")
    return found


def _axis(written: str, results: Results) -> str:
    for axis in written.split("|"):
        if axis in results.axes:
            return axis
    raise MissingLevels(_spoken(written))


def _level(axis: str, written: str, results: Results) -> tuple[str, ...] | None:
    """The levels behind a word: a level of that name, a group of the study, or an end of an axis of numbers."""
    levels = results.axes.get(axis, ())
    groups = results.groups.get(axis, {})
    ordered = numbers_of(levels)
    for name in written.split("|"):
        if name in levels:
            return (name,)
        if name in groups:
            return groups[name]
        if name == "unseen" and axis == "target" and "seen" not in groups:
            return tuple(levels)  # a target is what the base was not made for, unless the study says otherwise
        if name in ("first", "last") and len(ordered) > 1:
            return (ordered[0] if name == "first" else ordered[-1],)
    return None


def numbers_of(levels: Collection[str]) -> list[str]:
    """The levels in the order of their numbers; none where one is no number."""
    try:
        values = {level: float(level) for level in levels}
    except ValueError:
        return []
    return sorted(values, key=values.__getitem__) if all(map(math.isfinite, values.values())) else []


def _flat(levels: Collection[tuple[str, ...] | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(level for group in levels for level in group or ()))


def _spoken(written: str) -> str:
    return f"an axis {written.replace('|', ' or ')}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(name.replace("|", " or ") for name in names)

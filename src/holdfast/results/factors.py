"""What each factor does on average, what it does within each level of another, and whether these differ."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.results.measured import Measured
from holdfast.results.variance import Effect
from holdfast.verdict.statistics.decisions import holm


@dataclass(frozen=True)
class FactorEffect:
    """The change of a measure from one level of a factor to another.

    Attributes:
        factor: The axis.
        level, against: Its two levels.
        within: Axis -> level of another factor where only that level is looked at.
        cells: Combinations of the remaining factors that have both levels; the effect is their mean.
        effect: The difference.
        interaction: That difference less the mean of all such differences over the levels of the other factor;
            ``None`` for a main effect.
        p_holm: Of the effect, or of the interaction where there is one, corrected over its table.
    """

    factor: str
    level: str
    against: str
    within: Mapping[str, str]
    cells: int
    effect: Effect
    interaction: Effect | None = None
    p_holm: float = 1.0


def main_effects(measured: Measured, axes: Mapping[str, Sequence[str]]) -> list[FactorEffect]:
    """Every level of every factor against the factor's first level, over the combinations that have both.

    Args:
        measured: The measure.
        axes: Factor -> its levels in order.
    """
    found = []
    for factor in measured.factors:
        first, *others = axes[factor]
        for level in others:
            pairs = matched(measured, factor, level, first)
            effect = measured.contrast(mean_of(pairs)) if pairs else None
            if effect is not None:
                found.append(FactorEffect(factor, level, first, {}, len(pairs), effect))
    return corrected(found)


MOST_LEVELS = 24
"""Levels of a factor up to which its interactions are looked at: a longer table shows nothing to anybody."""


def interactions(measured: Measured, axes: Mapping[str, Sequence[str]]) -> list[FactorEffect]:
    """For every two factors: the effect of the one within each level of the other, and what is special about it."""
    found: list[FactorEffect] = []
    for factor, other in itertools.permutations(measured.factors, 2):
        if len(axes[factor]) > len(axes[other]) or (len(axes[factor]) == len(axes[other]) and factor > other):
            continue  # the factor of fewer levels is looked at within the other
        if len(axes[other]) > MOST_LEVELS:
            continue
        first, *others = axes[factor]
        for level in others:
            found += _within(measured, (factor, level, first), other, axes[other])
    return corrected(found)


def _within(
    measured: Measured, change: tuple[str, str, str], other: str, levels: Sequence[str]
) -> Iterator[FactorEffect]:
    factor, level, against = change
    place = measured.factors.index(other)
    pairs = matched(measured, factor, level, against)
    by_level = {name: [pair for pair in pairs if measured.recipes[pair[0]][place] == name] for name in levels}
    by_level = {name: chosen for name, chosen in by_level.items() if chosen}
    if len(by_level) < 2:
        return
    parts = {name: mean_of(chosen) for name, chosen in by_level.items()}
    middle = add([(1 / len(parts), weights) for weights in parts.values()])
    for name, weights in parts.items():
        effect = measured.contrast(weights)
        special = measured.contrast(add([(1.0, weights), (-1.0, middle)]))
        if effect is not None:
            yield FactorEffect(factor, level, against, {other: name}, len(by_level[name]), effect, special)


def matched(measured: Measured, factor: str, level: str, against: str) -> list[tuple[int, int]]:
    """Pairs of recipes that differ in one factor only, with a training in common."""
    place = measured.factors.index(factor)
    numbers = {recipe: number for number, recipe in enumerate(measured.recipes)}
    pairs = []
    for recipe, number in numbers.items():
        if recipe[place] == level:
            other = numbers.get((*recipe[:place], against, *recipe[place + 1 :]))
            if other is not None:
                pairs.append((number, other))
    return pairs


def mean_of(pairs: Sequence[tuple[int, int]]) -> dict[int, float]:
    """Weights of the mean difference of pairs."""
    return add([(1 / len(pairs), {first: 1.0, second: -1.0}) for first, second in pairs])


def add(parts: Sequence[tuple[float, Mapping[int, float]]]) -> dict[int, float]:
    """A sum of weighted contrasts."""
    total: dict[int, float] = {}
    for share, weights in parts:
        for row, weight in weights.items():
            total[row] = total.get(row, 0.0) + share * weight
    return total


def corrected(effects: Sequence[FactorEffect]) -> list[FactorEffect]:
    """The same with Holm's p-values over the table."""
    tested = [row.interaction or row.effect for row in effects]
    p_values = holm([effect.p_value() if effect.repeated else 1.0 for effect in tested])
    return [replace(row, p_holm=p) for row, p in zip(effects, p_values, strict=True)]

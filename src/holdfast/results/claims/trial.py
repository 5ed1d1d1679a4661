"""Claims on trial: what a study says of each, with effect, interval, and the number of claims accounted for.

A claim is that an effect lies beyond a margin. It is *supported* where the study shows that, *contradicted* where it
shows that the effect does not reach the margin, and else *not resolved at this scale*. A claim of several tests is
supported where each is (its p-value is the largest of theirs), and contradicted where one is (the smallest, times their
number). Holm's correction runs over all claims that the study can test, so that the chance of any wrong word among
them is below 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from holdfast.results.claims.catalogue import ClaimTest, StudyClaim, find_claim
from holdfast.results.claims.sides import MissingLevels, Side, Sides, sides_of
from holdfast.results.items import Tasks
from holdfast.results.measured import Measured, measured
from holdfast.results.points import Results
from holdfast.results.variance import Effect, Interval
from holdfast.verdict.statistics.decisions import holm
from holdfast.verdict.statistics.normal import normal_quantile

Ruling = Literal["supported", "contradicted", "not resolved at this scale", "not tested here"]
LEVEL = 0.05


@dataclass(frozen=True)
class TestedPart:
    """One comparison of a claim.

    Attributes:
        words: What is compared, in words.
        value: The effect: in points, a ratio of spreads, or a rank correlation.
        interval: Of 95 %; ``None`` where there is none.
        unit: ``points``, ``times`` or ``rank correlation``.
        margin: What the effect is held against.
        supports, contradicts: One-sided p-values.
        pairs: Combinations of the other factors that have both sides.
        basis: What the interval carries.
    """

    __test__ = False

    words: str
    value: float
    interval: Interval | None
    unit: str
    margin: float
    supports: float
    contradicts: float
    pairs: int
    basis: str


@dataclass(frozen=True)
class ClaimTrial:
    """A claim and what became of it.

    Attributes:
        claim: The claim.
        ruling: The word.
        parts: What was compared; empty where it could not be.
        missing: What the study lacks; ``None`` where it could.
        p_value: Two-sided, of its weakest part; ``p_holm`` is corrected over the claims of the study.
    """

    claim: StudyClaim
    ruling: Ruling
    parts: tuple[TestedPart, ...] = ()
    missing: str | None = None
    p_value: float = 1.0
    p_holm: float = 1.0

    @property
    def weakest(self) -> TestedPart | None:
        """The part that speaks least for the claim."""
        return max(self.parts, key=lambda part: (part.supports, -part.contradicts), default=None)

    @property
    def sentence(self) -> str:
        """The ruling in words."""
        part = self.weakest
        if part is None:
            return f"{self.claim.name} is not tested here: it needs {self.missing}."
        lead = f"{self.claim.name} is {self.ruling}"
        shown = _shown(part.value, part.unit)
        if part.interval is not None:
            low, high = (_shown(limit, part.unit) for limit in part.interval)
            shown += f" (95 % CI {low} to {high})"
        of = f"; the weakest of {len(self.parts)} comparisons" if len(self.parts) > 1 else ""
        pairs = "" if part.pairs < 2 else f"; mean of {part.pairs} pairs of recipes"
        margin = {
            "points": f"{part.margin:+g} points",
            "times": f"{part.margin:g} times",
            "rank correlation": f"{part.margin:g}",
        }[part.unit]
        told = f"{lead}: {part.words} is {shown}, held against {margin}{pairs}{of}"
        if part.basis in ("items", "nothing"):
            return f"{told}; one training each cannot decide it."
        return f"{told}; p {self.p_holm:.2g} after Holm."


def _shown(value: float, unit: str) -> str:
    if unit == "points":
        return f"{value:+.1f}"
    return f"{value:.2f}"


def put_on_trial(results: Results, items: Mapping[str, Tasks], names: Sequence[str] | None = None) -> list[ClaimTrial]:
    """Every claim that a study names, in that order.

    Args:
        results: The study.
        items: From :func:`holdfast.results.points.read_items`.
        names: Claims; default: those that the study names.

    Raises:
        HoldfastError: An unknown claim.
    """
    court = _Court(results, items)
    trials = [court.hear(find_claim(name)) for name in (results.claims if names is None else names)]
    tested = [number for number, trial in enumerate(trials) if trial.parts]
    for number, p_holm in zip(tested, holm([trials[number].p_value for number in tested]), strict=True):
        trial = trials[number]
        supports, contradicts = _both_ways(trial.parts)
        ruling: Ruling = "not resolved at this scale"
        if p_holm < LEVEL:
            ruling = "supported" if supports < contradicts else "contradicted"
        trials[number] = replace(trial, p_holm=p_holm, ruling=ruling)
    return trials


def _both_ways(parts: Sequence[TestedPart]) -> tuple[float, float]:
    return max(part.supports for part in parts), min(1.0, len(parts) * min(part.contradicts for part in parts))


class _Court:
    """Hears claims on one study; what was measured once is kept."""

    def __init__(self, results: Results, items: Mapping[str, Tasks]) -> None:
        self.results = results
        self.items = items
        self._known: dict[tuple[str, str, tuple[str, ...]], Measured] = {}

    def hear(self, claim: StudyClaim) -> ClaimTrial:
        """Run the tests of a claim."""
        parts: list[TestedPart] = []
        try:
            for test in claim.tests:
                if test.says == "follows":
                    parts.append(self._follows(test))
                else:
                    parts += [self._compare(test, sides) for sides in sides_of(test, self.results)]
        except MissingLevels as missing:
            return ClaimTrial(claim, "not tested here", missing=str(missing))
        supports, contradicts = _both_ways(parts)
        p_value = min(1.0, 2 * min(supports, contradicts))
        return ClaimTrial(claim, "not resolved at this scale", tuple(parts), p_value=p_value)

    def _measured(self, measure: str, within: Side, also: Collection[str] = ()) -> Measured:
        factors = tuple(dict.fromkeys((*self.results.factors, *also)))
        key = (measure, repr(sorted(within.items())), factors)
        if key not in self._known:
            found = measured(self.results, measure, self.items, {a: set(v) for a, v in within.items()}, factors)
            self._known[key] = found
        found = self._known[key]
        if not found.recipes:
            at = f" on {_spoken_side(within)}" if within else ""
            raise MissingLevels(f"finished points with {measure}{at}")
        return found

    def _compare(self, test: ClaimTest, sides: Sides) -> TestedPart:
        found = self._measured(test.measure, sides.within, [*sides.first, *sides.second])
        cells = list(_cells(found, sides))
        if not cells:
            raise MissingLevels(f"finished points on both {_spoken_side(sides.first)} and {_spoken_side(sides.second)}")
        words = _words(test, sides)
        if test.says == "steadier":
            return _steadier(found, cells, words, test.margin)
        weights: dict[int, float] = {}
        for first, second in cells:
            for rows, sign in ((first, 1.0), (second, -1.0)):
                for row in rows:
                    weights[row] = weights.get(row, 0.0) + sign / len(rows) / len(cells)
        effect = found.contrast(weights)
        if effect is None:
            raise MissingLevels("one training that both sides have")
        bound = {"more": test.margin, "less": -test.margin, "no more": test.margin, "no less": -test.margin}[test.says]
        above, below = effect.above(bound), effect.below(bound)
        upwards = test.says in ("more", "no less")
        supports, contradicts = (above, below) if upwards else (below, above)
        if not effect.repeated:
            supports = contradicts = 1.0  # what another training would do is not known
        return TestedPart(
            words=words,
            value=effect.value,
            interval=effect.interval(),
            unit="points",
            margin=bound,
            supports=supports,
            contradicts=contradicts,
            pairs=len(cells),
            basis=effect.basis,
        )

    def _follows(self, test: ClaimTest) -> TestedPart:
        """Spearman's rank correlation over recipes, with Fisher's interval (1.06 / (n - 3); Fieller 1957)."""
        within = {axis: levels for axis, levels in test.within.items()}
        found = self._measured(test.measure, within)
        other = self._measured(test.of, within)
        means: list[tuple[Effect, Effect]] = []
        for number, recipe in enumerate(found.recipes):
            one = found.mean(number)
            two = other.mean(other.recipes.index(recipe)) if recipe in other.recipes else None
            if one is not None and two is not None:
                means.append((one, two))
        if len(means) < 5:
            raise MissingLevels(f"at least five recipes with {test.of}")
        from scipy.stats import spearmanr

        value = test.sign * float(spearmanr([a.value for a, _ in means], [b.value for _, b in means]).statistic)
        centre = math.atanh(min(0.999999, max(-0.999999, value)))
        error = math.sqrt(1.06 / (len(means) - 3))
        reach = normal_quantile(0.975) * error
        z = (centre - math.atanh(test.margin)) / error
        tail = Effect(z, 1.0, 1e9, "seeds", 1.0)
        sign = "" if test.sign > 0 else "minus "
        return TestedPart(
            words=f"{sign}the rank correlation of {test.of} and {test.measure} over {len(means)} recipes",
            value=value,
            interval=(math.tanh(centre - reach), math.tanh(centre + reach)),
            unit="rank correlation",
            margin=test.margin,
            supports=tail.above(0.0),
            contradicts=tail.below(0.0),
            pairs=1,
            basis="recipes",
        )


def _cells(found: Measured, sides: Sides) -> Iterator[tuple[list[int], list[int]]]:
    """The recipes of both sides in every combination of the other factors that has both."""
    asked = [found.factors.index(axis) for axis in {**sides.first, **sides.second} if axis in found.factors]
    groups: dict[tuple[str, ...], tuple[list[int], list[int]]] = {}
    for number, recipe in enumerate(found.recipes):
        rest = tuple(level for place, level in enumerate(recipe) if place not in asked)
        levels = dict(zip(found.factors, recipe, strict=True))
        for side, place in ((sides.first, 0), (sides.second, 1)):
            if side and all(levels.get(axis) in names for axis, names in side.items()):
                groups.setdefault(rest, ([], []))[place].append(number)
    for first, second in groups.values():
        if first and (second or not sides.second):
            yield first, second


def _steadier(found: Measured, cells: Sequence[tuple[list[int], list[int]]], words: str, margin: float) -> TestedPart:
    """The ratio of the spreads over seeds, first to second, with the F interval of two independent variances."""
    from scipy.special import fdtr, fdtri

    pooled: list[tuple[float, int]] = []
    for side in (0, 1):
        squares, freedom = 0.0, 0
        for row in {row for cell in cells for row in cell[side]}:
            for values in found.repeated(row):
                squares += float(((values - values.mean()) ** 2).sum())
                freedom += len(values) - 1
        if freedom < 1:
            raise MissingLevels("at least two seeds")
        pooled.append((squares / freedom, freedom))
    (one, m), (two, n) = pooled
    if one <= 0 or two <= 0:
        raise MissingLevels("a spread over seeds above zero on both sides")
    ratio = one / two
    low, high = ratio / fdtri(m, n, 0.975), ratio / fdtri(m, n, 0.025)
    below = float(fdtr(m, n, ratio / margin**2))  # P of so small a ratio if the truth is the margin
    return TestedPart(
        words=words,
        value=math.sqrt(ratio),
        interval=(math.sqrt(low), math.sqrt(high)),
        unit="times",
        margin=margin,
        supports=below,
        contradicts=1 - below,
        pairs=len(cells),
        basis="seeds",
    )


def _words(test: ClaimTest, sides: Sides) -> str:
    measure = f"the spread of {test.measure} over seeds" if test.says == "steadier" else test.measure
    what = f"{measure} of {_spoken_side(sides.first)}"
    if sides.second:
        what += f" {'to' if test.says == 'steadier' else 'less'} {_spoken_side(sides.second)}"
    return f"{what} on {_spoken_side(sides.within)}" if sides.within else what


def _spoken_side(side: Side) -> str:
    return " and ".join(f"{axis} {', '.join(levels)}" for axis, levels in side.items()) or "the base"

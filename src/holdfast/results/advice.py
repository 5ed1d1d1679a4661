"""Which recipe to take: the front of gain against loss under what a person wants kept, and the one to choose on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.errors import HoldfastError, nearest
from holdfast.results.overview import Aggregate, Standing
from holdfast.results.tables import Cell, Column, ResultTable
from holdfast.results.variance import Effect

_WISH = re.compile(r"\s*([\w:.\- %]+?)\s*(>=|<=|≥|≤|>|<)\s*([+-]?\d+(?:\.\d+)?)\s*%?\s*")
COSTS = {"seconds": "seconds", "s": "seconds", "trainable_percent": "trainable_percent", "train %": "trainable_percent"}
LEVEL = 0.05


@dataclass(frozen=True)
class Wish:
    """One bound, such as ``F >= -2``.

    Attributes:
        measure: ``E``, ``F``, ``O``, ``H``, a cost, or the name of a source.
        least: Whether the bound is a lower one.
        bound: In the measure's own unit.
    """

    measure: str
    least: bool
    bound: float

    def __str__(self) -> str:
        return f"{self.measure} {'>=' if self.least else '<='} {self.bound:g}"

    def short(self, value: float) -> float:
        """By how much a value misses the bound; 0 where it does not."""
        return max(0.0, self.bound - value if self.least else value - self.bound)


@dataclass(frozen=True)
class Candidate:
    """A recipe before the wishes.

    Attributes:
        standing: The recipe.
        missed: Wish -> by how much its mean misses it; only those missed.
        unshown: Wishes that the mean meets and the interval does not show.
        refused: Why it cannot be taken at all; ``None`` where it can.
    """

    standing: Standing
    missed: dict[Wish, float]
    unshown: tuple[Wish, ...]
    refused: str | None

    @property
    def fits(self) -> bool:
        """Whether it meets every wish by its mean."""
        return not self.missed and self.refused is None


@dataclass(frozen=True)
class Advice:
    """What to take.

    Attributes:
        wishes: What was asked.
        candidates: Every recipe, those of the largest gain first.
        front: Those that fit and of which no other that fits gains more and loses less.
        chosen: The one to take; ``None`` where none fits.
        sentences: Why.
    """

    wishes: tuple[Wish, ...]
    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    chosen: Candidate | None
    sentences: tuple[str, ...]


def read_wish(text: str, sources: Sequence[str] = ()) -> Wish:
    """Read ``F >= -2``.

    Args:
        text: A measure, a sign and a number.
        sources: Names of sources that may be bounded one by one.

    Raises:
        HoldfastError: It is none, or names no measure.
    """
    found = _WISH.fullmatch(text)
    if found is None:
        raise HoldfastError(f"'--keep {text}' is no bound", remedy="write --keep 'F >= -2'")
    name, sign, bound = found.groups()
    known = {**{letter: letter for letter in "EFOH"}, **COSTS, **{source: source for source in sources}}
    if name not in known:
        raise HoldfastError(f"'--keep {text}': there is no measure '{name}'", remedy=nearest(name, known))
    return Wish(known[name], sign[0] in ">≥", float(bound))


def sources_of(whole: Aggregate) -> list[str]:
    """Names of the sources of a study."""
    return list(dict.fromkeys(name for p in whole.results.finished for name in p.scores["sources"]))


def advise(
    whole: Aggregate, wishes: Sequence[Wish], allowed: Callable[[Standing], str | None] = lambda standing: None
) -> Advice:
    """Choose.

    Args:
        whole: The study.
        wishes: Bounds that must be met.
        allowed: Why a recipe that meets them cannot be taken (its memory, its form), or ``None``.

    Raises:
        HoldfastError: No recipe of the study has both a gain and a change of the sources.
    """
    placed = [s for s in whole.standings if s.E is not None and s.F is not None]
    if not placed:
        raise HoldfastError(
            "no recipe of the study has both a gain on a target and a change of the sources",
            file=whole.results.folder,
            remedy="let the study finish, or give its runs sources",
        )
    candidates = sorted((_candidate(whole, s, wishes, allowed) for s in placed), key=lambda c: -_gain(c))
    fitting = [candidate for candidate in candidates if candidate.fits]
    front = tuple(c for c in fitting if not any(_beats(other, c) for other in fitting))
    chosen = _choose(whole, fitting)
    lines = _none_fits(candidates, wishes) if chosen is None else _why(whole, chosen, fitting, candidates, wishes)
    return Advice(tuple(wishes), tuple(candidates), front, chosen, tuple(lines))


def _candidate(
    whole: Aggregate, standing: Standing, wishes: Sequence[Wish], allowed: Callable[[Standing], str | None]
) -> Candidate:
    missed: dict[Wish, float] = {}
    unshown = []
    for wish in wishes:
        value, interval = _value(whole, standing, wish.measure)
        if value is None or wish.short(value) > 0:
            missed[wish] = wish.short(value) if value is not None else float("inf")
        elif interval is None or wish.short(interval[0 if wish.least else 1]) > 0:
            unshown.append(wish)
    return Candidate(standing, missed, tuple(unshown), None if missed else allowed(standing))


def _value(whole: Aggregate, standing: Standing, measure: str) -> tuple[float | None, tuple[float, float] | None]:
    effects: dict[str, Effect | None] = {"E": standing.E, "F": standing.F, "O": standing.O}
    if measure in effects:
        effect = effects[measure]
        return (None, None) if effect is None else (effect.value, effect.interval())
    values = []
    for point in whole.runs[tuple(standing.recipe.values())]:
        row = point.scores["sources"].get(measure)
        found = point.scores.get(measure) if row is None else row["after"] - row["before"]
        values += [float(found)] if isinstance(found, int | float) else []
    value = sum(values) / len(values) if values else None
    return value, None if value is None else (value, value) if measure in COSTS.values() else None


def _gain(candidate: Candidate) -> float:
    return candidate.standing.E.value if candidate.standing.E else -1e9


def _loss(candidate: Candidate) -> float:
    return candidate.standing.F.value if candidate.standing.F else -1e9


def _beats(one: Candidate, other: Candidate) -> bool:
    gain, loss = _gain(one) - _gain(other), _loss(one) - _loss(other)
    return gain >= 0 and loss >= 0 and (gain > 0 or loss > 0)


def _choose(whole: Aggregate, fitting: Sequence[Candidate]) -> Candidate | None:
    """Of those that do not clearly gain less than the one that gains most, the one that keeps most."""
    return max(_near_best(whole, fitting), key=_loss, default=None)


def _near_best(whole: Aggregate, fitting: Sequence[Candidate]) -> list[Candidate]:
    if not fitting:
        return []
    gains = whole.measures["E"]
    places = {recipe: number for number, recipe in enumerate(gains.recipes)}
    best = fitting[0]
    top = places[tuple(best.standing.recipe.values())]
    near = [best]
    for candidate in fitting[1:]:
        effect = gains.contrast({top: 1.0, places[tuple(candidate.standing.recipe.values())]: -1.0})
        if effect is not None and effect.error is not None and effect.p_value() >= LEVEL:
            near.append(candidate)
    return near


def _why(
    whole: Aggregate,
    chosen: Candidate,
    fitting: Sequence[Candidate],
    candidates: Sequence[Candidate],
    wishes: Sequence[Wish],
) -> list[str]:
    standing = chosen.standing
    asked = " and ".join(map(str, wishes)) or "nothing in particular"
    lines = [
        f"{len(fitting)} of {len(candidates)} recipes keep to {asked}.",
        f"Take {standing.name}: it gains {_told(standing.E)} on the targets and changes the sources by "
        f"{_told(standing.F)}.",
    ]
    best = fitting[0]
    if best is not chosen:
        lines.append(
            f"{best.standing.name} gains {_gain(best):.1f}, which is not clearly more, and changes the sources by "
            f"{_loss(best):+.1f}."
        )
    for wish in chosen.unshown:
        lines.append(f"Its mean meets {wish}; its interval does not show it.")
    beyond = next((c for c in candidates if c.missed and _gain(c) > _gain(best)), None)
    if beyond is not None:
        missed = ", ".join(map(str, beyond.missed))
        lines.append(f"Without {missed} it would be {beyond.standing.name}, which gains {_gain(beyond):.1f}.")
    return lines


def _none_fits(candidates: Sequence[Candidate], wishes: Sequence[Wish]) -> list[str]:
    """Which recipe comes nearest: the one that misses fewest wishes, and those by least."""
    refused = [c for c in candidates if c.refused is not None]
    if refused:
        reasons = "; ".join(f"{c.standing.name}: {c.refused}" for c in refused[:3])
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        return [f"{len(refused)} recipes keep to {_all(wishes)}, and none can be taken ({reasons}{more})."]
    by_name = min(
        candidates,
        key=lambda c: (len(c.missed), sum(miss / max(1.0, abs(w.bound)) for w, miss in c.missed.items()), -_gain(c)),
    )
    missed = " and ".join(f"{wish} by {miss:.1f}" for wish, miss in by_name.missed.items())
    standing = by_name.standing
    return [
        f"None of {len(candidates)} recipes keeps to {_all(wishes)}.",
        f"Nearest comes {standing.name}, which misses {missed}; it gains {_told(standing.E)} on the targets and "
        f"changes the sources by {_told(standing.F)}.",
    ]


def _all(wishes: Sequence[Wish]) -> str:
    return " and ".join(map(str, wishes)) or "what was asked"


def _told(effect: Effect | None) -> str:
    if effect is None:
        return "an unknown amount"
    interval = effect.interval()
    limits = "" if interval is None else f" (95 % CI {interval[0]:+.1f} to {interval[1]:+.1f})"
    return f"{effect.value:+.1f} points{limits}"


def front_table(advice: Advice) -> ResultTable:
    """The recipes on the front, and whether their intervals show what their means meet."""
    rows: list[tuple[Cell, ...]] = []
    for candidate in advice.front:
        s = candidate.standing
        shown = "-" if not advice.wishes else "by the mean" if candidate.unshown else "shown"
        mark = "*" if candidate is advice.chosen else ""
        rows.append((f"{s.name}{mark}", s.E, s.F, s.O, s.points, shown))
    columns = (
        Column("recipe"),
        Column("E", signed=True),
        Column("F", signed=True),
        Column("O", signed=True),
        Column("runs"),
        Column("kept"),
    )
    notes = ("* the one to take: of those that do not clearly gain less than the best, it keeps most.",)
    return ResultTable("front", "The front: more gain only at more loss", columns, tuple(rows), notes)

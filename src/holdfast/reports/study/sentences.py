"""What the study page opens with: what was tried, who learned most, who kept most of it, and what limits that."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.reports.charts.front import pareto_front
from holdfast.reports.numbers import between, number
from holdfast.reports.study.figures import RecipeFigures, Spread, StudyFigures

NEARLY = 0.9
"""The share of the largest gain that a recipe must reach to be named as the one that kept most."""


def study_sentences(figures: StudyFigures) -> list[str]:
    """The most important first."""
    # A recipe with fewer targets than others is not held against them.
    placed = tuple(one for one in figures.whole.placed if not one.missing) or figures.whole.placed
    told = [_tried(figures)]
    if placed:
        told = [*_best(placed, figures), *told, _front(placed)]
    told += _limits(figures)
    return told


def front_of(placed: tuple[RecipeFigures, ...]) -> list[RecipeFigures]:
    """The recipes that no other one beats in both, the one that kept most last."""
    points = [(recipe.F.mean or 0.0, recipe.E.mean or 0.0) for recipe in placed]
    return [placed[index] for index in pareto_front(points)]


def _best(placed: tuple[RecipeFigures, ...], figures: StudyFigures) -> list[str]:
    most = max(placed, key=lambda recipe: (recipe.E.mean or 0.0, recipe.F.mean or 0.0))
    gain, change = most.E.mean or 0.0, most.F.mean or 0.0
    if gain <= 0:
        return [f"No recipe gained on {_where(figures)}: the best, {most.name}, changed it by {_told(most.E)} points."]
    what = f"lost {number(-change)}" if change < 0 else f"gained {number(change)}"
    spread = f" ({_interval(most.F)})" if most.F.interval else ""
    first = f"{most.name} gained most on {_where(figures)}: {_told(most.E)} points; it {what} on the sources{spread}."
    kept = max(placed, key=lambda recipe: recipe.F.mean or 0.0 if (recipe.E.mean or 0.0) >= NEARLY * gain else -1e9)
    if kept is most or change >= 0:
        return [first]
    share, loss = (kept.E.mean or 0.0) / gain, (kept.F.mean or 0.0) / change
    at = f"at {loss:.0%} of that loss" if loss > 0 else "and lost nothing on the sources"
    return [first, f"{kept.name} reached {share:.0%} of that gain {at}.".replace("%", " %")]


def _told(spread: Spread) -> str:
    return number(spread.mean, sign=True) + (f" ({_interval(spread)})" if spread.interval else "")


def _interval(spread: Spread) -> str:
    return f"95 % {between(spread.interval)}"


def _where(figures: StudyFigures) -> str:
    targets = figures.whole.targets
    return f"the target {targets[0]}" if len(targets) == 1 else f"the {len(targets)} targets"


def _tried(figures: StudyFigures) -> str:
    results = figures.results
    finished, failed = len(results.finished), len(results.failed)
    seeds = len(results.axes.get("seed", ()))
    parts = [_count(len(figures.names), "recipe")]
    if (targets := len(figures.whole.targets)) > 1:
        parts.append(_count(targets, "target"))
    if seeds > 1:
        parts.append(_count(seeds, "seed"))
    text = f"{', '.join(parts)}: {finished:,} of {_count(len(results.points), 'run')} finished"
    waiting = len(results.points) - finished - failed
    text += f", {failed:,} failed" if failed else ""
    return f"{text}, {waiting:,} not run yet." if waiting else f"{text}."


def _front(placed: tuple[RecipeFigures, ...]) -> str:
    names = [recipe.name for recipe in reversed(front_of(placed))]
    if len(names) == 1:
        return f"No other recipe beats {names[0]} in either gain or keeping."
    return f"Not beaten by another in both gain and keeping, from most kept to most learned: {_listed(names)}."


def _limits(figures: StudyFigures) -> list[str]:
    told = []
    recipes = figures.whole.recipes
    if recipes and max(recipe.seeds for recipe in recipes) == 1:
        told.append("Every recipe ran with one seed, so differences between recipes may be the seed's.")
    learning = sorted({r.name for r in recipes for point in r.runs if point.scores.get("still_learning")})
    if learning:
        told.append(
            f"Still learning when training ended, so longer training would change their figures: {_listed(learning)}."
        )
    leaks = sorted({str(leak["sentence"]) for r in recipes for p in r.runs for leak in p.scores.get("leaks") or ()})
    missing = [recipe.name for recipe in recipes if recipe.missing]
    if missing:
        told.append(f"Not held against the others, because runs on some targets are missing: {_listed(missing)}.")
    return [*told, *leaks]


def _listed(names: Sequence[str], most: int = 8) -> str:
    """At most ``most`` names and how many more there are; never one more, which could stand there itself."""
    return ", ".join(names) if len(names) <= most + 1 else f"{', '.join(names[:most])} and {len(names) - most} more"


def _count(number_of: int, what: str) -> str:
    return f"{number_of:,} {what}" if number_of == 1 else f"{number_of:,} {what}s"

"""Are the intervals and tests of ``holdfast compare`` what they say? Simulated paired scores, whose truth is known.

    python benchmarks/coverage.py            # some four minutes of one core
    python benchmarks/coverage.py --quick    # under one: fewer rounds and settings

Scores before and after come from a latent normal model: an item's own ease, its image's ease, and noise of each side,
so that questions on one image rise and fall together by a chosen correlation. 0/1 scores are one threshold of it,
graded ones (0, .3, .6, .9, 1, as VQA accuracy) four. What is called is the code of :mod:`holdfast.verdict` itself.

The least of fifty coverages lies below each of them: beside every least and most stands what chance alone would make of
as many exact intervals (or tests) in as many rounds, so that nobody reads noise as a miss.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from common import machine, progress, table

from holdfast.predictions.record import Prediction
from holdfast.verdict.compare import compare
from holdfast.verdict.statistics.clusters import Clusters
from holdfast.verdict.statistics.intervals import (
    change_interval,
    degrees,
    level_interval,
    quantile,
    ratio_interval,
)
from holdfast.verdict.statistics.permutation import sign_flip_test

NORMAL = NormalDist()
STEPS = ((0.5, 0.3), (0.1, 0.3), (-0.2, 0.3), (-0.6, 0.1))
"""Graded scores: what each threshold, above or below that of a right answer, adds."""
CONFIDENCE = 0.95
RARE = 10
"""Items expected to flip below which a cell counts as rare: intervals are then wide on purpose."""


@dataclass(frozen=True)
class Setting:
    """One cell of the simulation.

    Attributes:
        items: Of the task.
        questions: On average an image; images have 1 to twice as many less one.
        correlation: Of the latent scores of two questions on one image.
        base: Share of right answers before (for graded scores, of answers above the middle threshold).
        change: True change of that share.
        graded: Whether scores are graded.
    """

    items: int
    questions: int
    correlation: float
    base: float
    change: float
    graded: bool


def sizes(items: int, questions: int) -> np.ndarray:
    """Questions of each image: 1 to 2 ``questions`` - 1 in turn, adding up to ``items``."""
    made, left, step = [], items, 0
    while left:
        size = min(left, 1 + step * 2 % (2 * questions - 1))
        made.append(size)
        left, step = left - size, step + 1
    return np.array(made)


def truth(setting: Setting) -> tuple[float, float]:
    """The true mean score before and after."""
    return _mean(setting, setting.base), _mean(setting, setting.base + setting.change)


def _mean(setting: Setting, share: float) -> float:
    if not setting.graded:
        return share
    threshold = NORMAL.inv_cdf(share)
    return sum(value * NORMAL.cdf(threshold + offset) for offset, value in STEPS)


def draw(setting: Setting, rounds: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores before and after, [rounds, items], and the image of each item."""
    counts = sizes(setting.items, setting.questions)
    image = np.repeat(np.arange(len(counts)), counts)

    def normal(units: int) -> np.ndarray:
        return generator.standard_normal((rounds, units))

    ease_of_image, ease = normal(len(counts)), normal(setting.items)
    scores = []
    for share in (setting.base, setting.base + setting.change):
        shared = math.sqrt(setting.correlation / 2) * (ease_of_image + normal(len(counts)))
        noise = math.sqrt(0.6) * ease + math.sqrt(0.4) * normal(setting.items)
        latent = shared[:, image] + math.sqrt(1 - setting.correlation) * noise
        threshold = NORMAL.inv_cdf(share)
        if setting.graded:
            scores.append(sum(value * (latent < threshold + offset) for offset, value in STEPS))
        else:
            scores.append((latent < threshold).astype(float))
    return scores[0], scores[1], image


def drawn(setting: Setting, rounds: int, generator: np.random.Generator) -> Iterator[Clusters]:
    """The clusters of each round."""
    at_once = max(1, 200_000 // setting.items)
    for begin in range(0, rounds, at_once):
        before, after, image = draw(setting, min(at_once, rounds - begin), generator)
        starts = np.flatnonzero(np.diff(image, prepend=-1))
        sides = [np.add.reduceat(scores, starts, axis=1) for scores in (before, after)]
        change = after - before
        risen, fallen = np.maximum(change, 0).sum(axis=1), np.maximum(-change, 0).sum(axis=1)
        squares = np.stack([(scores**2).sum(axis=1) for scores in (before, after, change)], axis=1)
        size = np.bincount(image).astype(float)
        for row in range(len(before)):
            seen = (float(squares[row, 0]), float(squares[row, 1]), float(squares[row, 2]))
            one, other = sides[0][row], sides[1][row]
            yield Clusters(size, one, other, setting.items, float(risen[row]), float(fallen[row]), seen)


def grid(quick: bool) -> Iterator[Setting]:
    """The settings: 50 to 5,000 items, 1 to 10 questions an image, correlation 0 to .5, base rates .02 to .98."""
    images = ((1, 0.0), (5, 0.2), (10, 0.5)) if quick else ((1, 0.0), (2, 0.2), (5, 0.2), (5, 0.5), (10, 0.5))
    bases = (0.1, 0.5, 0.98) if quick else (0.02, 0.1, 0.5, 0.9, 0.98)
    for graded in (False, True):
        for items in (50, 200, 1000) if quick else (50, 200, 1000, 5000):
            for questions, correlation in images:
                for base in bases:
                    for change in (0.0, -0.1 * min(base, 1 - base) - 0.005):
                        yield Setting(items, questions, correlation, base, change, graded)


def one_task(setting: Setting, rounds: int, seed: int) -> dict[str, Any]:
    """How often the intervals of one task hold its truth, and how often its test rejects."""
    generator = np.random.default_rng(seed)
    before, after = truth(setting)
    change = after - before
    held = dict.fromkeys(("change", "score after", "ratio"), 0)
    below = above = rejected = agreed = flips = known = 0
    for number, clusters in enumerate(drawn(setting, rounds, generator)):
        binary = not setting.graded
        freedom = degrees(clusters, binary=binary)
        reach = quantile(CONFIDENCE, freedom)
        low, high = change_interval(clusters, reach, binary=binary)
        held["change"] += low <= change <= high
        lower, upper = change_interval(clusters, quantile(2 * CONFIDENCE - 1, freedom), binary=binary)
        below, above = below + (upper < change), above + (lower > change)
        low_after, high_after = level_interval(clusters, reach)
        held["score after"] += low_after <= after <= high_after
        ratio = ratio_interval(clusters, reach)
        known += ratio is not None
        held["ratio"] += ratio is not None and ratio[0] <= after / before <= ratio[1]
        if setting.change == 0:
            clear = sign_flip_test(clusters.change, number).p_value < 1 - CONFIDENCE
            rejected += clear
            agreed += clear == (low > 0 or high < 0)
        flips += clusters.risen + clusters.fallen
    return {
        **asdict(setting),
        "images": len(sizes(setting.items, setting.questions)),
        "rounds": rounds,
        "flips": flips / rounds,
        "coverage": held["change"] / rounds,
        "score after": held["score after"] / rounds,
        "ratio": held["ratio"] / known if known > rounds / 2 else None,
        "false within": above / rounds,
        "false beyond": below / rounds,
        "rejected": rejected / rounds,
        "agreed": agreed / rounds,
    }


NEARBY = ((0.02, 0.1), (0.1, 0.9), (0.9, 0.98))


def nearby(items: int, questions: int, correlation: float, rounds: int, seed: int) -> list[dict[str, Any]]:
    """Coverage of the change of 0/1 scores over base rates and drops that are drawn anew in every round.

    At a single base rate the coverage of few flips is a matter of luck, for their number is whole; what somebody meets
    who does not choose the base rate is the mean (Agresti and Coull 1998; Newcombe 1998). Base rates are drawn evenly
    from each of ``NEARBY``, drops from nothing to a fifth of the rarer answer.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for low, high in NEARBY:
        held, flips = 0, 0.0
        for _ in range(rounds):
            base = generator.uniform(low, high)
            change = -generator.uniform(0, 0.2) * min(base, 1 - base)
            setting = Setting(items, questions, correlation, base, change, graded=False)
            (clusters,) = drawn(setting, 1, generator)
            reach = quantile(CONFIDENCE, degrees(clusters, binary=True))
            lower, upper = change_interval(clusters, reach, binary=True)
            held += lower <= change <= upper
            flips += clusters.risen + clusters.fallen
        images = len(sizes(items, questions))
        cell = {"items": items, "images": images, "correlation": correlation, "base": [low, high]}
        rows.append({**cell, "flips": flips / rounds, "coverage": held / rounds})
    return rows


@dataclass(frozen=True)
class Study:
    """A comparison of several tasks: one target and some sources, all of one size."""

    sources: int
    items: int
    questions: int
    correlation: float
    base: float
    change: float


def several_tasks(study: Study, rounds: int, seed: int) -> dict[str, Any]:
    """How often the intervals of E, F, O and H hold the truth, and how often any claim is false."""
    generator = np.random.default_rng(seed)
    names = ["target", *(f"source {number}" for number in range(study.sources))]
    setting = Setting(study.items, study.questions, study.correlation, study.base, study.change, graded=False)
    before, after = truth(setting)
    change = after - before
    true = {"E": change, "F": change, "O": 2 * change, "H": after}
    held = dict.fromkeys(true, 0)
    defined = dict.fromkeys(true, 0)
    false = 0
    scores = {name: draw(setting, rounds, generator) for name in names}
    for number in range(rounds):
        sides: tuple[dict[str, list[Prediction]], ...] = ({}, {})
        for name in names:
            *both, image = scores[name]
            for side, values in zip(sides, (both[0][number], both[1][number]), strict=True):
                side[name] = [
                    Prediction(str(i), "yes" if value else "no", image=f"{at}", score=value, task=name)
                    for i, (value, at) in enumerate(zip(values.tolist(), image.tolist(), strict=True))
                ]
        comparison = compare(*sides, target="target", seed=number)
        for name, value in true.items():
            estimate = getattr(comparison.summary, name)
            if estimate.interval is not None:
                defined[name] += 1
                held[name] += estimate.interval[0] <= value <= estimate.interval[1]
        claims = [task.verdict for task in comparison.tasks.values()]
        claims += [
            estimate.claim.verdict for estimate in (comparison.summary.E, comparison.summary.F) if estimate.claim
        ]
        false += any(claim == "gained" or (claim == "lost" and change == 0) for claim in claims)
    images = len(sizes(study.items, study.questions))
    cover = {name: held[name] / max(1, defined[name]) for name in true}
    return {**asdict(study), "images": images, "rounds": rounds, **cover, "any false claim": false / rounds}


def studies(quick: bool) -> Iterator[Study]:
    """One target with 1, 3 or 8 sources on few and on many images."""
    for sources in (1, 3) if quick else (1, 3, 8):
        for items, questions, correlation in ((50, 5, 0.3), (50, 1, 0.0), (200, 10, 0.5), (500, 5, 0.2)):
            if items > 200 and (quick or sources > 1):
                continue
            for base, change in ((0.5, 0.0), (0.9, 0.0), (0.9, -0.03)):
                yield Study(sources, items, questions, correlation, base, change)


def power(setting: Setting, rounds: int, seed: int) -> float:
    """How often the test finds the change of a setting."""
    generator = np.random.default_rng(seed)
    tests = (sign_flip_test(one.change, number) for number, one in enumerate(drawn(setting, rounds, generator)))
    return sum(test.p_value < 1 - CONFIDENCE for test in tests) / rounds


def smallest_drop(items: int, questions: int, correlation: float, base: float, rounds: int, seed: int) -> float | None:
    """The smallest drop found with 80 % power, to a twentieth of itself; ``None`` where none is."""
    low, high = 0.0, base - 0.005
    if power(Setting(items, questions, correlation, base, -high, False), rounds, seed) < 0.8:
        return None
    while high - low > 0.05 * high:
        middle = (low + high) / 2
        found = power(Setting(items, questions, correlation, base, -middle, False), rounds, seed) >= 0.8
        low, high = (low, middle) if found else (middle, high)
    return high


def needed(drop: float, churn: float, questions: int, alike: float) -> tuple[int, int]:
    """Items and images with which a true drop is found four times in five.

    (z_.975 + z_.8)^2 (churn - drop^2) deff / drop^2 items, with deff = 1 + (questions - 1) times the correlation of the
    changes of two questions on one image.
    """
    reach = NORMAL.inv_cdf(0.975) + NORMAL.inv_cdf(0.8)
    items = reach**2 * max(churn - drop**2, drop - drop**2) * (1 + (questions - 1) * alike) / drop**2
    return math.ceil(items), math.ceil(items / questions)


def expected_extremes(share: float, cells: int, rounds: int) -> tuple[float, float]:
    """The least and the most that chance alone is expected to make of ``cells`` shares that truly are ``share``."""
    from scipy.stats import binom

    up_to = binom.cdf(np.arange(rounds), rounds, share)  # P(at most 0, 1, ... rounds - 1)
    return float(((1 - up_to) ** cells).sum()) / rounds, 1 - float((up_to**cells).sum()) / rounds


def summary_rows(cells: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Coverage and errors by kind and number of items: the mean, and the worst, over cells that are not rare."""
    rows: list[list[Any]] = []
    for graded in (False, True):
        for items in sorted({cell["items"] for cell in cells}):
            for rare in (False, True):
                chosen = [
                    cell
                    for cell in cells
                    if cell["graded"] == graded and cell["items"] == items and (cell["flips"] < RARE) == rare
                ]
                if not chosen:
                    continue
                null = [cell for cell in chosen if cell["change"] == 0]
                cover = [cell["coverage"] for cell in chosen]
                rounds = chosen[0]["rounds"]
                least, most = expected_extremes(CONFIDENCE, len(chosen), rounds)
                rows.append(
                    [
                        f"{'graded' if graded else '0/1'}, {items} items{', few flips' if rare else ''}",
                        len(chosen),
                        float(np.mean(cover)),
                        min(cover),
                        least,
                        max(cover),
                        most,
                        float(np.mean([cell["score after"] for cell in chosen])),
                        _mean_of(chosen, "ratio"),
                        float(np.mean([cell["false within"] for cell in chosen])),
                        float(np.mean([cell["false beyond"] for cell in chosen])),
                        float(np.mean([cell["rejected"] for cell in null])),
                        max(cell["rejected"] for cell in null),
                        expected_extremes(1 - CONFIDENCE, len(null), rounds)[1],
                        float(np.mean([cell["agreed"] for cell in null])),
                    ]
                )
    return rows


def _mean_of(cells: Sequence[dict[str, Any]], name: str) -> float | None:
    known = [cell[name] for cell in cells if cell[name] is not None]
    return float(np.mean(known)) if known else None


COLUMNS = (
    "intervals and test of a task", "cells", "change", "least", "chance", "most", "chance", "score", "ratio", "within",
    "beyond", "test", "most", "chance", "agree",
)  # fmt: skip


def again(cells: Sequence[dict[str, Any]], rounds: int, seed: int) -> list[dict[str, Any]]:
    """The cells that look worst, simulated anew: what chance alone made of 400 cells goes back to its place."""
    null = [cell for cell in cells if cell["change"] == 0]
    worst = sorted(cells, key=lambda cell: cell["coverage"])[:4]
    worst += sorted(null, key=lambda cell: -cell["rejected"])[:4]
    found = []
    for number, cell in enumerate(worst):
        setting = Setting(**{name: cell[name] for name in Setting.__dataclass_fields__})
        fresh = one_task(setting, 4 * (rounds if setting.items < 5000 else rounds // 2), seed + 10_000 + number)
        found.append(fresh | {"first": {name: cell[name] for name in ("coverage", "rejected")}})
    return found


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report as tables."""
    told = report["machine"]
    yield f"rounds {report['rounds']}, seed {report['seed']}, {report['seconds']} s of one core, {told['processor']}, "
    yield f"load {told['load']}, Python {told['python']}"
    yield ""
    yield from table(COLUMNS, summary_rows(report["tasks"]))
    yield ""
    yield "chance: the least or most to be expected of as many exact intervals or tests in as many rounds."
    yield "change, score, ratio: coverage of nominal 0.95. within, beyond: one-sided errors of the answers about a"
    yield f"margin (nominal 0.05). test: rejections at 0.05 under no change. few flips: fewer than {RARE} expected."
    yield ""
    rows = []
    for cell in report["worst cells again"]:
        first, null = cell["first"], cell["change"] == 0
        kind = "graded" if cell["graded"] else "0/1"
        name = f"{kind}, {cell['items']} items on {cell['images']} images, correlation {cell['correlation']}"
        name += f", base {cell['base']:g}, change {cell['change']:g}"
        rejected = [first["rejected"], cell["rejected"]] if null else [None, None]
        rows.append([name, first["coverage"], cell["coverage"], *rejected])
    yield from table(("worst cells, four times the rounds", "cover", "again", "test", "again"), rows)
    yield ""
    names = ("E", "F", "O", "H", "any false claim")
    rows = []
    for one in report["summaries"]:
        name = f"{one['sources']} sources, {one['items']} items on {one['images']} images, base {one['base']}"
        rows.append([f"{name}, change {one['change']}", *(one[name] for name in names)])
    yield from table(("several tasks", *names), rows)
    yield ""
    least, most = expected_extremes(CONFIDENCE, len(rows), report["summaries"][0]["rounds"])
    yield f"least and most to be expected of {len(rows)} exact intervals in as many rounds: {least:.3f} and {most:.3f}."
    yield "any false claim: a task, E or F called gained or lost where nothing changed (Holm; nominal 0.05)."
    yield ""
    shown = [[f"{i} items, {q} an image, correlation {c}", n, drop] for i, q, c, n, drop in report["smallest drops"]]
    yield from table(("smallest drop found with 80 % power, from 80 points", "images", "points"), shown)
    yield ""
    rows = [
        [f"{one['items']} items on {one['images']} images", *one["base"], one["flips"], one["coverage"]]
        for one in report["nearby base rates"]
    ]
    yield from table(("change, base rates drawn anew", "from", "to", "flips", "coverage"), rows)
    yield ""
    rows = []
    for churn in (0.05, 0.1, 0.2):
        for questions, alike in ((1, 0.0), (5, 0.2)):
            found = [needed(drop / 100, churn, questions, alike) for drop in (0.3, 1, 3)]
            words = [f"{items:,} / {images:,}" for items, images in found]
            rows.append([f"{churn:.0%} of the answers flip, {questions} an image", *words])
    yield from table(("items / images to see a drop of", "0.3", "1", "3 points"), rows)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and settings")
    parser.add_argument("--rounds", type=int, help="of each setting (default 500; with --quick 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print every cell as JSON")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the tables of a report kept with --json")
    options = parser.parse_args()
    if options.show is None:
        report = simulate(options.quick, options.rounds or (100 if options.quick else 500), options.seed)
    else:
        report = json.loads(options.show.read_text(encoding="utf-8"))
    print(json.dumps(report, indent=1) if options.json else "\n".join(lines(report)))


def simulate(quick: bool, rounds: int, seed: int) -> dict[str, Any]:
    """Everything, in one report; what is done is told on stderr."""
    begun = time.process_time()

    def told(what: object) -> None:
        progress(f"{time.process_time() - begun:5.0f} s  {what}")

    cells = []
    for number, setting in enumerate(grid(quick)):
        cells.append(one_task(setting, rounds if setting.items < 5000 else rounds // 2, seed + number))
        told(setting)
    fresh = again(cells, rounds, seed)
    told("the worst cells again")
    together = []
    for number, study in enumerate(studies(quick)):
        together.append(several_tasks(study, max(50, rounds // 2), seed + number))
        told(study)
    around = []
    for items in (50, 200):
        for questions, correlation in ((1, 0.0), (5, 0.2), (10, 0.5)):
            around += nearby(items, questions, correlation, 2 * rounds, seed)
    told("nearby base rates")
    drops = []
    for items in (200, 1000) if quick else (200, 1000, 5000):
        for questions, correlation in ((1, 0.0), (5, 0.2), (10, 0.5)):
            found = smallest_drop(items, questions, correlation, 0.8, max(50, rounds // 4), seed)
            drops.append([items, questions, correlation, len(sizes(items, questions)), found and 100 * found])
            told(f"smallest drop, {items} items")
    return {
        "rounds": rounds,
        "seed": seed,
        "seconds": round(time.process_time() - begun),
        "machine": machine(1),
        "tasks": cells,
        "worst cells again": fresh,
        "summaries": together,
        "nearby base rates": around,
        "smallest drops": drops,
    }


if __name__ == "__main__":
    main()

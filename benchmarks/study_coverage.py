"""Are the intervals, ranks and rulings of ``holdfast study report`` what they say? Simulated studies of known truth.

    python benchmarks/study_coverage.py            # about fifteen minutes on one core
    python benchmarks/study_coverage.py --quick    # about two: fewer rounds and settings

Every item of every training is drawn (``simulated_study.py``): items and images that are hard for all trainings, what a
seed does to every item, and what a training does to one item alone. What is called is the code of
:mod:`holdfast.results` itself. Nominal are 0.95 for the intervals and 0.05 for false orders and false rulings.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from common import machine, progress, table
from simulated_study import World, simulate

from holdfast.results.claims.trial import put_on_trial
from holdfast.results.measured import measured
from holdfast.results.ranks import all_pairs

MEASURES = ("E", "F", "O")
STEADY = (1.0, 1.0, 1.0)
UNEQUAL = (0.5, 1.0, 2.0)
"""Spreads over seeds of the recipes in turn, in units of the setting's."""


@dataclass(frozen=True)
class Cell:
    """One setting.

    Attributes:
        seeds: Trainings of each recipe and target.
        spread: Of a training's effect on the latent scale of its items.
        unequal: Whether some recipes are four times as unsteady as others.
        items, questions: Items of a task, and of an image.
        targets, recipes: How many.
    """

    seeds: int
    spread: float
    unequal: bool
    items: int
    questions: int
    targets: int
    recipes: int


def grid(quick: bool) -> Iterator[Cell]:
    """Settings: 1 to 5 seeds, weak to strong seeds, few to many items and recipes."""
    for seeds in (1, 2, 3, 5):
        for spread in (0.05, 0.3):
            for unequal in (False, True):
                for items, questions, targets, recipes in ((100, 1, 1, 8), (200, 5, 3, 8), (60, 2, 2, 3)):
                    if quick and (items == 60 or seeds == 5):
                        continue
                    yield Cell(seeds, spread, unequal, items, questions, targets, recipes)


def world(cell: Cell, *, alike: bool) -> World:
    """The truth of a setting; ``alike``: every recipe does the same."""
    targets = ("digits", "tissue", "icons")[: cell.targets]
    effects = {}
    for number in range(cell.recipes):
        shift = 0 if alike else number
        after = {target: 0.55 + 0.05 * (shift % 6) for target in targets}
        effects[f"m{number}"] = after | {"color": 0.85 - 0.06 * (shift % 4), "count": 0.8}
    factors = UNEQUAL if cell.unequal else STEADY
    spreads = {recipe: cell.spread * factors[number % 3] for number, recipe in enumerate(effects)}
    return World(
        effects,
        targets=targets,
        seeds=cell.seeds,
        items=cell.items,
        questions=cell.questions,
        seed_spread=spreads,
    )


def cover(cell: Cell, rounds: int, seed: int) -> dict[str, Any]:
    """How often the intervals hold the truth, how wide they are, and how often any order among alike ones is false."""
    generator = np.random.default_rng(seed)
    true = world(cell, alike=False)
    held: dict[str, list[bool]] = {f"{kind} {m}": [] for kind in ("mean", "pair") for m in MEASURES}
    unsteady: list[bool] = []
    widths: list[float] = []
    orders = 0
    for _ in range(rounds):
        results, changes = simulate(true, generator)
        for letter in MEASURES:
            found = measured(results, letter, changes)
            truth = [true.truth(recipe[0], letter) for recipe in found.recipes]
            for number in range(cell.recipes):
                other = (number + 1) % cell.recipes
                for kind, weights, at in (
                    ("mean", {number: 1.0}, truth[number]),
                    ("pair", {number: 1.0, other: -1.0}, truth[number] - truth[other]),
                ):
                    effect = found.contrast(weights)
                    limits = effect.interval() if effect is not None else None
                    assert limits is not None
                    held[f"{kind} {letter}"].append(limits[0] <= at <= limits[1])
                    if kind == "mean" and number % 3 == 2:
                        unsteady.append(limits[0] <= at <= limits[1])
                    if kind == "pair" and letter == "O":
                        widths.append(limits[1] - limits[0])
        results, changes = simulate(world(cell, alike=True), generator)
        orders += any(pair.clear for pair in all_pairs(measured(results, "O", changes)))
    figures = {name: float(np.mean(values)) for name, values in held.items()}
    return (
        asdict(cell)
        | figures
        | {
            "least steady": float(np.mean(unsteady)) if cell.unequal else None,
            "width of a pair": float(np.mean(widths)),
            "false orders": orders / rounds,
        }
    )


def rulings(rounds: int, seed: int) -> list[list[Any]]:
    """How often any of five claims is ruled wrongly where the truth is a margin's breadth on the wrong side, and power.

    The claims: connector (two), vision, and two on the best of four methods.
    """
    rows = []
    names = ["h1", "h2", "h12", "h14", "h15"]
    for seeds in (2, 3, 5):
        for gain in (0.0, 0.05, 0.1):
            generator = np.random.default_rng([seed, seeds, round(100 * gain)])
            wrong = supported = resolved = 0
            for _ in range(rounds):
                effects = {
                    f"{m}/{c}/{v}": {"digits": 0.55 + gain * (c == "tuned"), "color": 0.8, "count": 0.8}
                    for m in ("lora", "ia3", "adapter", "prefix")
                    for c in ("frozen", "tuned")
                    for v in ("frozen", "tuned")
                }
                factors = ("method", "connector", "vision")
                true = World(effects, factors=factors, seeds=seeds, items=150, questions=2, seed_spread=0.1)
                results, changes = simulate(true, generator)
                groups = {"target": {"seen": ("digits",), "unseen": ("digits",)}}
                trials = {t.claim.name: t for t in put_on_trial(replace(results, groups=groups), changes, names)}
                right = {"h1": gain > 0.01, "h2": False, "h12": False, "h14": True, "h15": False}
                wrong += any(
                    (t.ruling == "supported" and not right[n]) or (t.ruling == "contradicted" and right[n])
                    for n, t in trials.items()
                )
                supported += trials["h1"].ruling == "supported"
                resolved += sum(not t.ruling.startswith("not") for t in trials.values())
            told = (wrong / rounds, supported / rounds, resolved / rounds / len(names))
            rows.append([f"{seeds} seeds, connector gains {100 * gain:g}", *told])
    return rows


COLUMNS = (
    "mean E",
    "mean F",
    "mean O",
    "pair E",
    "pair F",
    "pair O",
    "least steady",
    "width of a pair",
    "false orders",
)


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report as tables."""
    told = report["machine"]
    yield f"rounds {report['rounds']}, seed {report['seed']}, {report['seconds']} s of one core, {told['processor']}, "
    yield f"load {told['load']}, Python {told['python']}"
    yield ""
    rows = []
    for cell in report["cells"]:
        name = f"{cell['seeds']} seeds, spread {cell['spread']:g}{' unequal' if cell['unequal'] else ''}, "
        name += f"{cell['recipes']} recipes, {cell['targets']} x {cell['items']} items, {cell['questions']} an image"
        rows.append([name, *(cell[column] for column in COLUMNS)])
    yield from table(("intervals (0.95) and orders (0.05)", *COLUMNS), rows)
    yield ""
    yield "least steady: means of the recipes with twice the spread. width: of a pair on O, in points. false orders:"
    yield "any pair told apart where all recipes do the same. One seed: intervals carry items only."
    yield ""
    yield from table(("claims", "any wrong", "h1 supported", "ruled"), report["rulings"])


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and settings")
    parser.add_argument("--rounds", type=int, help="of each setting (default 200; with --quick 40)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print every cell as JSON")
    options = parser.parse_args()
    report = run(options.quick, options.rounds or (40 if options.quick else 200), options.seed)
    print(json.dumps(report, indent=1) if options.json else "\n".join(lines(report)))


def run(quick: bool, rounds: int, seed: int) -> dict[str, Any]:
    """Everything, in one report; what is done is told on stderr."""
    begun = time.process_time()
    cells = []
    for number, cell in enumerate(grid(quick)):
        cells.append(cover(cell, rounds, seed + number))
        progress(f"{time.process_time() - begun:5.0f} s  {cell}")
    return {
        "rounds": rounds,
        "seed": seed,
        "cells": cells,
        "rulings": rulings(rounds, seed),
        "seconds": round(time.process_time() - begun),
        "machine": machine(1),
    }


if __name__ == "__main__":
    main()

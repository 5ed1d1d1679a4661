"""Every method at its own learning rate and length, on the pocket model: the page ``docs/fair.md`` and its picture.

    python benchmarks/fair.py --out runs/fair                 # runs the study, or goes on with it, then writes the page
    python benchmarks/fair.py --out runs/fair --only-page     # from the points that are finished

The study is ``fair_methods``: the rate of every method is chosen once on validation parts, training ends when the
target's validation loss has not improved for two looks, and three seeds train. It takes hours; it may be stopped at
any moment, and the same command goes on. A method has its row when all its seeds are there. Figures of the verdict come
from ``scores.json``, steps from ``training.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from common import commit, machine

from holdfast.methods.registry import METHODS
from holdfast.reports.charts.gains import GainMark
from holdfast.reports.pareto import draw_pareto
from holdfast.results.costs import MEGABYTE, mean_of
from holdfast.results.overview import Aggregate, Standing, aggregate
from holdfast.results.points import read_items, read_results
from holdfast.results.ranks import in_words
from holdfast.results.tables import Cell, Column, ResultTable, rendered

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "fair.md"
PICTURE = ROOT / "docs" / "images" / "fair-pareto.png"
STUDY = "fair_methods"
MOST_LOSS, LEAST_GAIN = -25.0, 40.0
"""Points, of a method that is drawn."""
COLUMNS = (
    Column("rank"),
    Column("method"),
    Column("rate"),
    Column("trained %", digits=3),
    Column("E", signed=True),
    Column("F", signed=True),
    Column("O", signed=True),
    Column("H"),
    Column("learned", digits=0),
    Column("forgot", digits=0),
    Column("sd E"),
    Column("sd F"),
    Column("F at step 0", signed=True),
    Column("steps"),
    Column("s", digits=0),
    Column("MB", digits=0),
)

INTRODUCTION = """# Every method at its own rate

A table in which every method has the same learning rate and length says how well that rate fits each. Here each method
of `holdfast methods` tunes the `llm` of the pocket model (its example's component where it has another) on 800 scanned
digits with a learning rate of its own, chosen by one rule: of half decades from 0.0001 to 0.1, the one with the largest
sum of target and mean source accuracy, both on validation parts and with one seed, searched from 0.003 outwards.
Training ends when the target's validation loss has not improved for two looks, 40 steps of 16 examples apart, at the
latest after 240 steps. Three seeds; 500 target items and 100 of each source are asked.

This is a model of a million parameters: the table compares rules of learning on one small task, it does not say which
of them a 7B model should use.
"""

READING = """\
**rank**: the best and the worst place by O that a method may have when all pairs are tested on the same items and seeds
(Holm, 5 %). **E**, **F**, **O**: mean change on target, sources, their sum, with 95 % intervals over items and seeds.
**learned**, **forgot**: items that turned right and wrong, a seed's mean. **sd**: over seeds. **F at step 0**: of
methods that do not begin as the base. **steps**: a seed's mean; with `+` where a seed's loss still fell at the last
step. **s**: a seed's training with evaluation, on a machine that did other work. **MB**: estimated memory of the
largest step, by the estimate of their day: too high for methods that train entries of a matrix (SHiRA takes 99 MB by
today's, WaveFT's 95), too low where a layer keeps products or copies (the [log](log.md) says which).

A rate of 0.0001 or 0.1 is an edge of the grid, and a better one may lie beyond it. The search ends where both
neighbours are worse, and a measure with two tops may have a better one elsewhere. That is likeliest where a row loses
more than it gains: WaveFT at 0.0001, which the search did not reach, gains 79 and loses 10. The [log](log.md) explains
what collapses.
"""


def main() -> int:
    """Run the study, or go on with it; write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the study folder")
    parser.add_argument("--workers", type=int, help="as of holdfast study run")
    parser.add_argument("--only-page", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    if not arguments.only_page:
        words = [sys.executable, "-m", "holdfast", "study", "run", STUDY, "--out", str(arguments.out)]
        code = subprocess.call(words + (["--workers", str(arguments.workers)] if arguments.workers else []))
        if code not in (0, 1):  # 1: some points failed, and the page names them
            return code
    results = read_results(arguments.out)
    whole = aggregate(results, read_items(results))
    seeds = len(results.axes["seed"])
    done = [standing for standing in whole.standings if standing.points == seeds]
    if not done:
        print("no method has all its seeds yet", file=sys.stderr)
        return 1
    PAGE.write_text("\n".join(page(whole, done)) + "\n", encoding="utf-8")
    draw_pareto([mark for mark in map(marked, enumerate(done)) if near(mark)], [PICTURE], where="digits")
    print(f"{PAGE.relative_to(ROOT)}: {len(done)} methods of {len(results.axes['method'])}")
    return 0


def page(whole: Aggregate, done: Sequence[Standing]) -> Iterator[str]:
    """The page in lines."""
    yield INTRODUCTION
    yield "![Target gain over source change of the methods that gain most and lose least](images/fair-pareto.png)\n"
    yield (
        f"*Methods that gain more than {LEAST_GAIN} points and lose less than {-MOST_LOSS}; the others stand in the "
        "table. A name without a free place is left out. The line joins those that no other beats in both.*\n"
    )
    rates = {one["for"]["method"]: one["level"] for one in whole.results.selected.get("lr", [])}
    rows = tuple(row(whole, standing, rates) for standing in done)
    yield READING
    yield rendered(ResultTable("fair", "Every method", COLUMNS, rows), "markdown")
    there = {"frozen", *(standing.recipe["method"] for standing in done)}
    waiting = [name for name in METHODS.names() if name not in there]
    if waiting:
        named = ", ".join(f"`{name}`" for name in waiting)
        yield f"Not finished yet, {len(waiting)} of {len(METHODS.names()) - 1}: {named}.\n"
    failed = {point.levels["method"]: point.reason for point in whole.results.failed}
    for name, reason in failed.items():
        yield f"`{name}` failed: {reason}\n"
    here = machine(1)
    yield (
        f"Made by `benchmarks/fair.py` at commit {commit()} on {here['processor']}, {here['cores']} cores, one thread "
        "a run. The same command goes on where it stopped."
    )


def marked(placed: tuple[int, Standing]) -> GainMark:
    """Where a method stands in the picture."""
    place, standing = placed
    assert standing.E is not None and standing.F is not None, "the study has a target and sources"
    method = METHODS.find(standing.recipe["method"])
    across, up = standing.F.interval(), standing.E.interval()
    return GainMark(
        name=standing.name,
        number=place,
        paradigm=method.card.paradigm,
        x=standing.F.value,
        y=standing.E.value,
        x_interval=across,
        y_interval=up,
    )


def near(mark: GainMark) -> bool:
    """Whether it belongs into the picture, in which the best would otherwise be one heap."""
    return mark.x > MOST_LOSS and mark.y > LEAST_GAIN


def row(whole: Aggregate, standing: Standing, rates: dict[str, str]) -> tuple[Cell, ...]:
    """One method."""
    name = standing.recipe["method"]
    points = whole.runs[tuple(standing.recipe.values())]
    steps = [json.loads((point.folder / "training.json").read_text(encoding="utf-8"))["steps"] for point in points]
    starts = [point.scores["start"]["F"] for point in points if "start" in point.scores]
    memory = mean_of(points, "memory")
    falling = any(point.scores.get("still_learning") for point in points)
    return (
        in_words(standing.rank) if standing.rank else None,
        f"[`{name}`](methods.md#{name})",
        rates.get(name),
        mean_of(points, "trainable_percent"),
        standing.E,
        standing.F,
        standing.O,
        mean_of(points, "H"),
        mean_of(points, "learned"),
        mean_of(points, "forgot"),
        *standing.spread,
        statistics.mean(starts) if starts else None,
        f"{statistics.mean(steps):.0f}" + ("+" if falling else ""),
        mean_of(points, "seconds"),
        None if memory is None else memory / MEGABYTE,
    )


if __name__ == "__main__":
    raise SystemExit(main())

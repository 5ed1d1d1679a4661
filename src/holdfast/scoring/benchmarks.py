"""Which benchmark a task's name, or a metric's, belongs to: ``results.py`` in its folder, found and not listed.

A benchmark of somebody's package is the package that an entry point of the group ``holdfast.tasks`` names; it may have
a ``results`` module of the same contract, and without one its card's metric scores plain records.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from holdfast.predictions.layout import Benchmark
from holdfast.registry import offers

FOLDER = Path(__file__).parents[1] / "tasks"


def find_benchmark(task: str | None) -> Benchmark | None:
    """The benchmark that serves a task; imports those alone whose files hold its name."""
    if task is None:
        return None
    own = next((found for found in _holding(task) if task in found.metrics), None)
    return own if own is not None else _theirs().get(task)


def benchmark_for(metric: str | None) -> Benchmark | None:
    """The benchmark whose references a metric reads where it is asked for by its own name."""
    if metric is None:
        return None
    return next((found for found in _holding(metric) if metric in found.also_for), None)


def all_benchmarks() -> list[Benchmark]:
    """Every benchmark; imports them all."""
    theirs = {id(found): found for found in _theirs().values()}
    return [*map(_benchmark, _files()), *theirs.values()]


def task_names() -> tuple[str, ...]:
    """Every task that can be scored by its name, sorted."""
    return tuple(sorted({task for found in all_benchmarks() for task in found.metrics}))


def _holding(name: str) -> Iterator[Benchmark]:
    for file in _files():
        if f'"{name}"' in _text(file):
            yield _benchmark(file)


@cache
def _files() -> tuple[Path, ...]:
    return tuple(sorted(FOLDER.glob("*/results.py")))


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _benchmark(file: Path) -> Benchmark:
    found: Benchmark = import_module(f"holdfast.tasks.{file.parent.name}.results").BENCHMARK
    return found


@cache
def _theirs() -> dict[str, Benchmark]:
    found: dict[str, Benchmark] = {}
    for offer in offers("holdfast.tasks"):
        name = f"{offer.value}.results"
        try:
            there = find_spec(name) is not None
        except ImportError:
            continue  # the list of tasks names what is broken
        if there:
            made: Benchmark = import_module(name).BENCHMARK
            found |= dict.fromkeys((*made.metrics, offer.name), made)
        else:
            from holdfast.tasks.cards import find_card  # cards need pydantic

            card = find_card(offer.name)
            found[offer.name] = Benchmark(metrics={offer.name: f"{card.metric}:{card.variant}"})
    return found

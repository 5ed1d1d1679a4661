"""Which benchmark a task's name, or a metric's, belongs to: ``results.py`` in its folder, found and not listed.

A benchmark of somebody's package is the package that an entry point of the group ``holdfast.tasks`` names; it may have
a ``results`` module of the same contract, and without one its card's metric scores plain records.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions.layout import Benchmark
from holdfast.registry import Offer, offers

TASKS = "holdfast.tasks"
"""The group of entry points."""
FOLDER = Path(__file__).parents[1] / "tasks"


def find_benchmark(task: str | None) -> Benchmark | None:
    """The benchmark that serves a task; imports those alone whose files hold its name.

    Raises:
        HoldfastError: Two provide the task, or the package that does is broken.
    """
    if task is None:
        return None
    own = next((found for found in _holding(task) if task in found.metrics), None)
    theirs = [offer for offer in offers(TASKS) if offer.name == task]
    if own is not None and not theirs:
        return own
    if theirs:
        from holdfast.tasks.cards import home_of  # cards need pydantic

        home_of(task)  # refuses what two provide
        return _of(theirs[0])
    return next((found for found in _theirs() if task in found.metrics), None)


def benchmark_for(metric: str | None) -> Benchmark | None:
    """The benchmark whose references a metric reads where it is asked for by its own name."""
    if metric is None:
        return None
    return next((found for found in _holding(metric) if metric in found.also_for), None)


def all_benchmarks() -> list[Benchmark]:
    """Every benchmark; imports them all. What is broken in somebody's package is left out."""
    return [*map(_benchmark, _files()), *_theirs()]


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
def _theirs() -> tuple[Benchmark, ...]:
    """Those of installed packages that can be used; ``broken_tasks`` names the others."""
    found: list[Benchmark] = []
    for offer in offers(TASKS):
        with suppress(HoldfastError):
            found.append(_of(offer))
    return tuple(found)


@cache
def _of(offer: Offer) -> Benchmark:
    """The benchmark of a task of somebody's package.

    Raises:
        HoldfastError: Its card or its ``results`` cannot be used.
    """
    from holdfast.tasks.cards import find_card

    card = find_card(offer.name)
    name, metric = f"{offer.value}.results", f"{card.metric}:{card.variant}"
    try:
        made = import_module(name).BENCHMARK if find_spec(name) is not None else Benchmark(metrics={})
    except Exception as error:  # somebody else's code may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise HoldfastError(
            f"task '{offer.name}' of the package {offer.provider} cannot be scored: importing {name} fails with "
            f"{reason}",
            remedy=f"mend or uninstall {offer.provider.package}",
        ) from error
    return replace(made, metrics={offer.name: metric, **made.metrics})

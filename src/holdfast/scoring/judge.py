"""From a reading to scores: pair it with its references, let a metric judge it, or take the scores that it records."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.metrics.base import Metric
from holdfast.metrics.registry import METRICS, get_metric, metric_names
from holdfast.predictions.gold import pair, plain_gold
from holdfast.predictions.reading import Ask, Reading
from holdfast.predictions.record import Prediction, Score
from holdfast.scoring.benchmarks import benchmark_for, find_benchmark
from holdfast.scoring.read import read

_FEW_NAMES = 3


def scored(source: str | Path, ask: Ask) -> Reading:
    """Read a source and score it, where that is asked for or its layout says by what; otherwise take its own scores.

    ``holdfast score`` and ``holdfast compare`` both come through here.

    Raises:
        HoldfastError: Unreadable input, an unknown metric, an item that cannot be judged, a score out of range.
    """
    if ask.metric is not None:
        metric_of(ask.metric)  # a wrong name is told before large files are read
    reading = read(source, ask)
    if ask.judges:
        return judged(reading, ask)
    if all(row.score is not None for rows in reading.tasks.values() for row in rows):
        return recorded(reading)
    return reading if _default(reading, ask) is None else judged(reading, ask)


def judged(reading: Reading, ask: Ask) -> Reading:
    """The reading paired with its references, with what a metric makes of every item and of each task.

    Raises:
        HoldfastError: As :func:`scored`; or no metric is named.
    """
    spec = ask.metric or _default(reading, ask)
    if spec is None:
        raise HoldfastError(
            "references are given, but neither an official task nor a metric",
            remedy=f"name one with --task or --metric ({', '.join(metric_names())})",
        )
    metric = metric_of(spec)
    reading = with_references(reading, ask)
    tasks, totals, notes = {}, {}, list(reading.notes)
    for task, rows in reading.tasks.items():
        try:
            result = metric.score(rows, task=task)
        except HoldfastError as error:
            raise _placed(error, task, rows, reading) from error
        tasks[task], totals[task] = units(rows, result, metric), result
        notes += _notes(result, rows, metric, reading.name)
    told = f"{reading.recognised}; scored here with {label(metric)}"
    return replace(reading, tasks=tasks, totals=totals, notes=notes, recognised=told)


def _placed(error: HoldfastError, task: str, rows: Sequence[Prediction], reading: Reading) -> HoldfastError:
    """A metric's refusal with the file and line of the item that it names."""
    if error.file is not None:
        return error
    line = next((row.line for row in rows if row.id == error.item), None) if Path(reading.name).is_file() else None
    problem = error.problem if len(reading.tasks) == 1 else f"task '{task}': {error.problem}"
    return HoldfastError(problem, file=reading.name, line=line, item=error.item, remedy=error.remedy)


def with_references(reading: Reading, ask: Ask) -> Reading:
    """The reading with the references of ``ask``, or its own, paired by id.

    Raises:
        HoldfastError: There are none, or the two hold different items.
    """
    benchmark = find_benchmark(ask.task) or benchmark_for((ask.metric or "").partition(":")[0])
    gold = plain_gold if benchmark is None else benchmark.gold
    file = Path(reading.name)
    if ask.references is None:
        for task, rows in reading.tasks.items():
            if gold is not None and not any(row.references or "answer_index" in row.extra for row in rows):
                raise HoldfastError(
                    f"the task {task} needs its references, and the predictions hold none",
                    file=file,
                    remedy="add --references FILE, or name the column that holds them: --column references=COLUMN",
                )
        return reading
    if gold is None:
        return reading
    if not ask.references.exists():
        raise HoldfastError("the references do not exist", file=ask.references)
    if len(reading.tasks) > 1:
        raise HoldfastError(
            f"references are of one task, and the source holds {len(reading.tasks)}: {', '.join(reading.tasks)}",
            file=file,
            remedy="name one file",
        )
    ((task, rows),) = reading.tasks.items()
    try:
        found = gold(ask.references, rows, ask)
    except HoldfastError as error:
        if error.file is not None:
            raise
        raise HoldfastError(error.problem, file=file, line=error.line, item=error.item, remedy=error.remedy) from error
    return replace(reading, tasks={task: pair(rows, found, ask, file)})


def units(rows: Sequence[Prediction], result: Score, metric: Metric) -> list[Prediction]:
    """One record for each unit that the metric judges, with its verdict: an item, all turns of a question, an item in
    each split that it counts in."""
    by_id = {row.id: row for row in rows}
    name = label(metric)
    made = []
    for verdict in result.items:
        row = by_id[verdict.covers[0] if verdict.covers else verdict.id]
        made.append(
            replace(row if row.id == verdict.id else replace(row, id=verdict.id), task=result.task).judged(
                verdict, name
            )
        )
    return made


def recorded(reading: Reading) -> Reading:
    """The reading with its own scores, checked against the scale of the metric that they name; of items that the metric
    judges together one stands for all.

    Raises:
        HoldfastError: A score is out of range.
    """
    for task, rows in reading.tasks.items():
        known: dict[str | None, Metric | None] = {}
        kept: dict[str, Prediction] = {}
        for row in rows:
            if row.metric not in known:
                known[row.metric] = recorded_metric(row.metric)
            metric = known[row.metric]
            _check_range(row, 1.0 if metric is None else metric.top, reading)
            unit, name = (row.id, row.metric) if metric is None else (metric.unit(row), _bare(row.metric, metric))
            if unit not in kept:
                kept[unit] = row if unit == row.id and name == row.metric else replace(row, id=unit, metric=name)
        reading.tasks[task] = list(kept.values())
    return reading


def _bare(name: str | None, metric: Metric) -> str | None:
    """The recorded name, without a variant that is the metric's first anyway."""
    return metric.name if name == f"{metric.name}:{metric.variants[0]}" else name


def recorded_metric(name: str | None) -> Metric | None:
    """The metric that a file names for its scores, by our name or by a tool's, which may put a data set in front."""
    if not name:
        return None
    bare = name.partition(":")[0]
    for one in dict.fromkeys((bare, bare.lower(), bare.lower().rpartition("_")[2])):
        if one and one in METRICS:
            return get_metric(one)
    return None


def _check_range(row: Prediction, top: float, reading: Reading) -> None:
    for name, value in (("score", row.score), ("lenient", row.lenient)):
        if value is not None and not 0.0 <= value <= top * (1 + 1e-9):
            raise HoldfastError(
                f"'{name}' is {value:g}, outside 0 to {top:g}",
                file=reading.name,
                line=row.line,
                item=row.id,
                remedy="give scores as shares of a right answer; name the top of another scale with --scale",
            )


def metric_of(spec: str) -> Metric:
    """The metric of ``NAME`` or ``NAME:VARIANT``.

    Raises:
        HoldfastError: There is none; the message names a near one, or all.
    """
    name, _, variant = spec.partition(":")
    if name not in METRICS:
        names = metric_names()
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.85)
        remedy = f"did you mean '{close[0]}'?" if close else f"metrics: {', '.join(names)}"
        raise HoldfastError(f"unknown metric '{name}'", remedy=remedy)
    return get_metric(name, variant or None)


def label(metric: Metric) -> str:
    """What stands in the record: the metric's name, with its variant where that is not its first."""
    return metric.name if metric.variant == metric.variants[0] else f"{metric.name}:{metric.variant}"


def _default(reading: Reading, ask: Ask) -> str | None:
    """The metric of the task asked for, or of the layout."""
    benchmark = find_benchmark(ask.task)
    if benchmark is not None and ask.task is not None:
        return benchmark.metrics[ask.task]
    return reading.metric


def _notes(result: Score, rows: Sequence[Prediction], metric: Metric, name: str) -> list[str]:
    """What a reader of the items has to know: items nobody can judge, and an official figure that is not their mean."""
    notes = []
    odd = [verdict.id for verdict in result.items if verdict.status == "unjudged"]
    if odd:
        shown = ", ".join(odd[:_FEW_NAMES]) + (", ..." if len(odd) > _FEW_NAMES else "")
        notes.append(
            f"{result.task}: {len(odd)} of {result.n} items of {Path(name).name} cannot be judged, because their "
            f"reference is none of their options, and count as wrong ({shown})."
        )
    if not result.is_mean:
        notes.append(
            f"{result.task}: the official figure of {Path(name).name} is {result.score:.2f} over {result.n:,} items "
            f"({metric.name}, {metric.variant}); the comparison is of the items, {result.mean_of_items:.2f} on average."
        )
    return notes

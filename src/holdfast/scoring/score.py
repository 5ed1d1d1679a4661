"""Score prediction files of any tool by a task's official metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

from holdfast.errors import HoldfastError, nearest
from holdfast.metrics.registry import METRICS, metric_names
from holdfast.predictions.file import write_predictions
from holdfast.predictions.reading import Ask, Reading
from holdfast.predictions.record import Prediction, Score
from holdfast.scoring.benchmarks import find_benchmark
from holdfast.scoring.benchmarks import task_names as official_names
from holdfast.scoring.judge import judged, metric_of, with_references
from holdfast.scoring.read import read

__all__ = ["load_items", "score", "score_items", "score_reading", "task_names", "write_scored"]


def task_names() -> tuple[str, ...]:
    """Every task and, for plain records, every metric that can be asked for by name."""
    return tuple(sorted({*official_names(), *metric_names()}))


class ScoreSettings(TypedDict, total=False):
    """What may be said beside the task and the two files.

    Attributes:
        metric: Another metric than the task's own.
        variant: Another variant of the metric than the task's default.
        intersect: Keep only ids that both sides have, instead of refusing different sets.
        columns: Field -> column, for plain tables.
    """

    metric: str | None
    variant: str | None
    intersect: bool
    columns: Mapping[str, str]


def score_reading(
    task: str, predictions: str | Path, references: str | Path | None = None, **options: Unpack[ScoreSettings]
) -> Reading:
    """Read a prediction file and score it.

    Args:
        task: A task's name (``scienceqa``, ``vqav2``...), or a metric's for records of any task.
        predictions: The answers, in any layout that is known.
        references: The official references, where the predictions hold none; a file, or a folder that holds them.
        **options: See :class:`ScoreSettings`.

    Returns:
        The one task, with its total.

    Raises:
        HoldfastError: Anything wrong with either file, or a name that is unknown.
    """
    ask = _ask(task, references, options)
    return judged(_one_task(task, predictions, ask), ask)


def score(
    task: str, predictions: str | Path, references: str | Path | None = None, **options: Unpack[ScoreSettings]
) -> Score:
    """The total of :func:`score_reading`."""
    return score_reading(task, predictions, references, **options).totals[task]


def load_items(
    task: str, predictions: str | Path, references: str | Path | None = None, *, intersect: bool = False
) -> list[Prediction]:
    """A prediction file paired with the task's references, by id, and not yet judged; see :func:`score_reading`."""
    ask = _ask(task, references, {"intersect": intersect})
    return with_references(_one_task(task, predictions, ask), ask).tasks[task]


def score_items(
    task: str, items: Sequence[Prediction], *, metric: str | None = None, variant: str | None = None
) -> Score:
    """Score items already paired, by the task's metric or another one."""
    return metric_of(_spec(task, metric, variant)).score(items, task=task)


def write_scored(path: str | Path, reading: Reading) -> None:
    """Write one JSON line a unit of the metric, prediction and verdict, in the form ``holdfast compare`` reads.

    The file is written beside its final name and renamed.
    """
    (rows,) = reading.tasks.values()
    write_predictions(
        path,
        (
            replace(row, lenient=row.score if row.lenient is None else row.lenient, status=row.status or "ok")
            for row in rows
        ),
    )


def _ask(task: str, references: str | Path | None, options: ScoreSettings) -> Ask:
    spec = _spec(task, options.get("metric"), options.get("variant"))
    metric_of(spec)  # an unknown variant is told before large files are read
    return Ask(
        task=None if find_benchmark(task) is None else task,
        metric=spec,
        references=None if references is None else Path(references),
        intersect=options.get("intersect", False),
        columns=options.get("columns", {}),
    )


def _spec(task: str, metric: str | None, variant: str | None) -> str:
    """``METRIC:VARIANT`` of a task or of a metric's own name; a variant of the task's default is left to its metric."""
    benchmark = find_benchmark(task)
    if benchmark is None and task not in METRICS:
        raise HoldfastError(f"there is no task '{task}'", remedy=nearest(task, task_names()))
    default = task if benchmark is None else benchmark.metrics[task]
    name = default.partition(":")[0]
    if metric is not None and metric != name:
        return f"{metric}:{variant}" if variant else metric
    return f"{name}:{variant}" if variant else default


def _one_task(task: str, predictions: str | Path, ask: Ask) -> Reading:
    reading = read(predictions, ask)
    if len(reading.tasks) > 1:
        raise HoldfastError(
            f"the source holds {len(reading.tasks)} tasks: {', '.join(list(reading.tasks)[:8])}",
            file=predictions,
            remedy="score one file",
        )
    (rows,) = reading.tasks.values()
    return replace(reading, tasks={task: rows})

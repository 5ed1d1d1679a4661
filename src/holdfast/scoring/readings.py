"""Score what carries no scores: official files through their loaders, everything else by the references it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.metrics.registry import METRICS, get_metric
from holdfast.predictions.readers.reading import Reading
from holdfast.predictions.record import ItemScore, Prediction, Score
from holdfast.scoring import scorecard
from holdfast.scoring.layouts import TASKS
from holdfast.scoring.score import load_items, score_items


def is_official(task: str | None) -> bool:
    """Whether a task's official files can be read and scored by its name."""
    return task in TASKS


def read_official(
    path: Path,
    *,
    task: str | None,
    metric: str | None,
    references: str | Path | None,
    intersect: bool = False,
    recognised: str = "",
) -> Reading:
    """Read a prediction file with its official references and score it, as ``holdfast score`` does.

    Args:
        path: The predictions.
        task: Name of the task; its official layout is used where it has one, else that of the metric.
        metric: ``NAME`` or ``NAME:VARIANT``; default: the task's own.
        references: File or folder of the references, where the task needs them.
        intersect: Keep only ids that both files have.
        recognised: What the prediction file was taken for.

    Raises:
        HoldfastError: Unknown metric, unreadable files, or different items.
    """
    name, variant = _split(metric)
    layout = task if task is not None and is_official(task) else name
    if layout is None:
        raise HoldfastError(
            "references are given, but neither an official task nor a metric", remedy="name one with --task or --metric"
        )
    if name is not None:
        get_metric(name, variant)  # a wrong name is told before large files are read
    items = load_items(layout, path, references, intersect=intersect)
    result = score_items(layout, items, metric=name, variant=variant)
    by_id = {item.id: item for item in items}
    title = task or path.stem
    predictions = [_scored(by_id.get(verdict.id), verdict, result, title) for verdict in result.items]
    told = f"{recognised or 'predictions'}; scored here with {result.metric} ({result.variant})"
    return Reading(str(path), told, {title: predictions}, named=task is not None, notes=_total(result, title, path))


def score_reading(reading: Reading, metric: str) -> Reading:
    """Score every task of a reading by the references it carries.

    Raises:
        HoldfastError: Unknown metric, or an item it cannot judge.
    """
    tasks = {name: score_predictions(rows, metric, task=name) for name, rows in reading.tasks.items()}
    return replace(reading, tasks=tasks, recognised=f"{reading.recognised}; scored here with {metric}")


def score_predictions(predictions: Sequence[Prediction], metric: str, *, task: str) -> list[Prediction]:
    """The same predictions with score, lenient score, status and metric filled in.

    Args:
        predictions: With references, and choices where the metric wants them.
        metric: ``NAME`` or ``NAME:VARIANT``.
        task: For messages.

    Raises:
        HoldfastError: Unknown metric or variant, or an item it cannot judge.
    """
    name, variant = _split(metric)
    assert name is not None
    return scorecard.score_predictions(predictions, metric=name, variant=variant, task=task)[1]


def _split(metric: str | None) -> tuple[str | None, str | None]:
    if metric is None:
        return None, None
    name, _, variant = metric.partition(":")
    if name not in METRICS:
        get_metric(name)  # raises, naming the nearest
    return name, variant or None


def _scored(item: Prediction | None, verdict: ItemScore, result: Score, task: str) -> Prediction:
    """One line; items that a metric judges together (rotations of one MMBench question) give one."""
    bare = Prediction(verdict.id, verdict.parsed) if item is None else item
    return replace(bare, task=task).judged(verdict, f"{result.metric}:{result.variant}")


def _total(result: Score, task: str, path: Path) -> list[str]:
    """A note where the official figure is not the mean of the items, which is what a comparison compares."""
    mean = 100 * math.fsum(verdict.score for verdict in result.items) / len(result.items)
    if math.isclose(mean, result.score, abs_tol=0.005) or math.isclose(mean / 100, result.score, abs_tol=5e-5):
        return []
    return [
        f"{task}: the official figure of {path.name} is {result.score:.2f} over {result.n:,} items ({result.metric}, "
        f"{result.variant}); the comparison is of the items, {mean:.2f} on average."
    ]

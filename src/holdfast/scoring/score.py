"""Score prediction files of any tool by a task's official metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.metrics.registry import get_metric
from holdfast.predictions.file import write_predictions
from holdfast.predictions.record import NOTHING, Prediction, Score
from holdfast.predictions.request import Request
from holdfast.scoring.layouts import find_task, read_items, task_names

__all__ = ["load_items", "score", "score_items", "task_names", "write_scored"]


def load_items(
    task: str, predictions: str | Path, references: str | Path | None = None, *, intersect: bool = False
) -> list[Prediction]:
    """Pair a prediction file with the task's references, by id.

    Args:
        task: A task-card name (``scienceqa``, ``vqav2``...) or a metric's name for plain records.
        predictions: The answers, in a layout the task knows.
        references: The official references; a file, or a folder that holds them.
        intersect: Keep only ids that both sides have, instead of refusing different sets.

    Raises:
        HoldfastError: On anything wrong with either file.
    """
    place = None if references is None else Path(references)
    return read_items(Request(task, Path(predictions), place, intersect), find_task(task))


def score_items(
    task: str, items: Sequence[Prediction], *, metric: str | None = None, variant: str | None = None
) -> Score:
    """Score items already paired, by the task's metric or another one."""
    card = find_task(task)
    name = metric or card.metric
    default = card.variant if name == card.metric else None
    return get_metric(name, variant or default).score(items, task=task)


def score(
    task: str,
    predictions: str | Path,
    references: str | Path | None = None,
    *,
    metric: str | None = None,
    variant: str | None = None,
    intersect: bool = False,
) -> Score:
    """Score a prediction file. See :func:`load_items` for the files.

    Args:
        metric: Another metric than the task's own.
        variant: Another variant of the metric than the task's default.
    """
    card = find_task(task)
    # An unknown variant is told before large files are read.
    get_metric(metric or card.metric, variant)
    items = load_items(task, predictions, references, intersect=intersect)
    return score_items(task, items, metric=metric, variant=variant)


def write_scored(path: str | Path, items: Sequence[Prediction], result: Score) -> None:
    """Write one JSON line an item, prediction and verdict, in the form ``holdfast compare`` reads.

    The file is written beside its final name and renamed. Items that a metric scores together (rotations of one MMBench
    question) give one line.
    """
    by_id = {item.id: item for item in items}
    lines = []
    for verdict in result.items:
        item = by_id.get(verdict.id, Prediction(verdict.id, verdict.parsed))
        lenient = verdict.score if verdict.lenient is None else verdict.lenient
        told = replace(item.judged(verdict, result.metric), task=result.task, lenient=lenient, status=verdict.status)
        lines.append(replace(told, extra=NOTHING))
    write_predictions(path, lines)

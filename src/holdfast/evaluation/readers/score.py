"""Score what a reader found without scores, with the official metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.evaluation.items import Item, ItemScore
from holdfast.evaluation.metrics.registry import get_metric
from holdfast.evaluation.predictions import Prediction
from holdfast.evaluation.readers.reading import Reading
from holdfast.evaluation.readers.references import Gold, read_references


def score_reading(reading: Reading, metric: str, references: str | Path | None = None) -> Reading:
    """Score every task of a reading.

    Args:
        reading: What was read.
        metric: ``NAME`` or ``NAME:VARIANT``.
        references: File with the gold answers by id; default: those the predictions carry.

    Raises:
        HoldfastError: References cannot be read or lack an item, or the metric cannot judge one.
    """
    gold = None if references is None else read_references(Path(references))
    tasks = {}
    for name, predictions in reading.tasks.items():
        known = predictions if gold is None else [_with_gold(each, gold, reading, references) for each in predictions]
        tasks[name] = score_predictions(known, metric, task=name)
    told = f"{reading.recognised}; scored here with {metric}"
    return replace(reading, tasks=tasks, recognised=told)


def _with_gold(
    prediction: Prediction, gold: Mapping[str, Gold], reading: Reading, references: str | Path | None
) -> Prediction:
    entry = gold.get(prediction.id)
    if entry is None:
        raise HoldfastError(
            f"{references} has no reference for the item",
            file=reading.name,
            line=prediction.line,
            item=prediction.id,
            remedy="are the references of another split?",
        )
    return replace(
        prediction,
        references=entry.references,
        choices=entry.choices or prediction.choices,
        image=entry.image or prediction.image,
        question=entry.question or prediction.question,
    )


def score_predictions(predictions: Sequence[Prediction], metric: str, *, task: str) -> list[Prediction]:
    """Score predictions that carry their references.

    Args:
        predictions: With references, and choices where the metric wants them.
        metric: ``NAME`` or ``NAME:VARIANT``.
        task: For messages.

    Returns:
        The same predictions with score, lenient score, status and metric filled in.

    Raises:
        HoldfastError: Unknown metric or variant, or an item it cannot judge.
    """
    name, _, variant = metric.partition(":")
    items = [
        Item(
            id=prediction.id,
            prediction=prediction.prediction,
            references=prediction.references,
            question=prediction.question,
            image=prediction.image or "",
            choices=prediction.choices,
            truncated=prediction.truncated,
        )
        for prediction in predictions
    ]
    return merge(predictions, get_metric(name, variant or None).score(items, task=task).items, metric)


def merge(predictions: Sequence[Prediction], scores: Sequence[ItemScore], metric: str) -> list[Prediction]:
    """Put item scores onto their predictions."""
    by_id = {score.id: score for score in scores}
    return [
        replace(
            prediction,
            score=by_id[prediction.id].score,
            lenient=by_id[prediction.id].lenient,
            status=None if by_id[prediction.id].status == "ok" else by_id[prediction.id].status,
            metric=metric,
        )
        for prediction in predictions
    ]

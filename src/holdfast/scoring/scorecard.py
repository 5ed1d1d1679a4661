"""The scores of a run: per item into its prediction files, in sum for its scorecard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.metrics.registry import get_metric
from holdfast.predictions.file import read_predictions, write_predictions
from holdfast.predictions.record import Prediction, Score


def score_file(file: Path, *, metric: str, variant: str | None = None) -> Score:
    """Score every item of a prediction file, write the item scores into it, and return the total.

    Raises:
        HoldfastError: The file is not a prediction file, or the metric is unknown.
    """
    predictions = read_predictions(file)
    task = predictions[0].task or file.stem
    score, scored = score_predictions(predictions, metric=metric, variant=variant, task=task)
    write_predictions(file, sorted(scored, key=lambda prediction: prediction.id))
    return score


def score_predictions(
    predictions: Sequence[Prediction], *, metric: str, variant: str | None, task: str
) -> tuple[Score, list[Prediction]]:
    """The total, and the same predictions with score, lenient score, status and metric filled in; those that the metric
    judges together all get their common verdict.

    Raises:
        HoldfastError: Unknown metric or variant, or an item it cannot judge.
    """
    score = get_metric(metric, variant).score(predictions, task=task)
    verdicts = {item: verdict for verdict in score.items for item in verdict.covers or (verdict.id,)}
    name = metric if variant is None else f"{metric}:{variant}"
    return score, [prediction.judged(verdicts[prediction.id], name) for prediction in predictions]

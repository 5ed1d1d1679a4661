"""From prediction files to scores: per item into the files, per task and in sum into the scorecard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.metrics.registry import get_metric
from holdfast.predictions.file import read_predictions, write_predictions
from holdfast.predictions.record import ItemScore, Prediction, Score
from holdfast.tasks.mmbench.metric import ROTATION


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
    """The total, and the same predictions with score, lenient score, status and metric filled in.

    Raises:
        HoldfastError: Unknown metric or variant, or an item it cannot judge.
    """
    score = get_metric(metric, variant).score([_item(prediction) for prediction in predictions], task=task)
    by_id = {item.id: item for item in score.items}
    name = metric if variant is None else f"{metric}:{variant}"
    return score, [p.judged(_verdict(p.id, by_id), name) for p in predictions]


def _verdict(item: str, by_id: Mapping[str, ItemScore]) -> ItemScore:
    """The item's own verdict; a rotation of an MMBench question has that of the question, all rotations together."""
    return by_id[item] if item in by_id else by_id[str(int(item) % ROTATION)]


def _item(prediction: Prediction) -> Prediction:
    # ScienceQA reports the questions with an image apart.
    return replace(prediction, extra={"image": bool(prediction.image), **prediction.extra})

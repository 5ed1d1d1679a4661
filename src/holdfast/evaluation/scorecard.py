"""From prediction files to scores: per item into the files, per task and in sum into the scorecard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from holdfast.evaluation.items import Item, Score
from holdfast.evaluation.metrics.registry import get_metric
from holdfast.evaluation.predictions import Prediction, read_predictions, write_predictions


def score_file(file: Path, *, metric: str, variant: str | None = None) -> Score:
    """Score every item of a prediction file, write the item scores into it, and return the total.

    Raises:
        HoldfastError: The file is not a prediction file, or the metric is unknown.
    """
    predictions = read_predictions(file)
    score = get_metric(metric, variant).score([_item(p) for p in predictions], task=predictions[0].task or file.stem)
    by_id = {item.id: item for item in score.items}
    scored = [
        replace(
            prediction,
            metric=metric,
            score=by_id[prediction.id].score,
            lenient=by_id[prediction.id].lenient,
            status=None if by_id[prediction.id].status == "ok" else by_id[prediction.id].status,
        )
        for prediction in sorted(predictions, key=lambda prediction: prediction.id)
    ]
    write_predictions(file, scored)
    return score


def _item(prediction: Prediction) -> Item:
    return Item(
        id=prediction.id,
        prediction=prediction.prediction,
        references=prediction.references,
        question=prediction.question,
        image=prediction.image or "",
        choices=prediction.choices,
        truncated=prediction.truncated,
    )

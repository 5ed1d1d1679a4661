"""Scoring small items in one line."""

from __future__ import annotations

from typing import Any

from holdfast.metrics.registry import get_metric
from holdfast.predictions.record import Prediction, Score


def ask(metric: str, *items: Prediction, variant: str | None = None) -> Score:
    return get_metric(metric, variant).score(items)


def one(metric: str, prediction: str | None, *references: str, variant: str | None = None, **more: Any) -> float:
    return ask(metric, Prediction("q", prediction, references, **more), variant=variant).items[0].score

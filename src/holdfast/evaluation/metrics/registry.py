"""Metrics by name. A metric's module is imported when it is first asked for, so listing names costs nothing."""

from __future__ import annotations

from importlib import import_module

from holdfast.errors import HoldfastError, nearest
from holdfast.evaluation.metrics.base import Metric

__all__ = ["METRICS", "Metric", "get_metric", "metric_names"]

METRICS: dict[str, str] = {
    "anls": "anls:ANLS",
    "bleu": "captions:BLEU",
    "chair": "judged:CHAIR",
    "cider": "captions:CIDEr",
    "exact_match": "exact_match:ExactMatch",
    "gqa": "gqa:GQA",
    "iconqa": "iconqa:IconQA",
    "meteor": "meteor:METEOR",
    "mmbench": "mmbench:MMBench",
    "mme": "mme:MME",
    "mmhal": "judged:MMHal",
    "multiple_choice": "multiple_choice:MultipleChoice",
    "pathvqa": "pathvqa:PathVQA",
    "pope": "pope:POPE",
    "relaxed_accuracy": "relaxed:RelaxedAccuracy",
    "rouge_l": "captions:ROUGEL",
    "scienceqa": "scienceqa:ScienceQA",
    "spice": "spice:spice",
    "stvqa_accuracy": "stvqa:STVQAAccuracy",
    "vizwiz_unanswerability": "unanswerable:VizWizUnanswerability",
    "vqa_accuracy": "vqa:VQAAccuracy",
}


def metric_names() -> tuple[str, ...]:
    """Every metric's name, sorted."""
    return tuple(sorted(METRICS))


def get_metric(name: str, variant: str | None = None) -> Metric:
    """The metric of that name under that variant (its first variant by default).

    Raises:
        HoldfastError: On an unknown name or variant; the message names the nearest one.
    """
    if name not in METRICS:
        raise HoldfastError(f"there is no metric '{name}'", remedy=nearest(name, METRICS))
    module, _, attribute = METRICS[name].partition(":")
    made: Metric = getattr(import_module(f"holdfast.evaluation.metrics.{module}"), attribute)(variant)
    return made

"""Metrics by name. A metric's module is imported when it is first asked for, so listing names costs nothing."""

from __future__ import annotations

from importlib import import_module

from holdfast.errors import HoldfastError, nearest
from holdfast.metrics.base import Metric

__all__ = ["METRICS", "Metric", "get_metric", "metric_names"]

METRICS: dict[str, str] = {
    "anls": "metrics.anls:ANLS",
    "bleu": "metrics.captions:BLEU",
    "chair": "tasks.judged.metric:CHAIR",
    "cider": "metrics.captions:CIDEr",
    "exact_match": "metrics.exact_match:ExactMatch",
    "gqa": "tasks.gqa.metric:GQA",
    "iconqa": "tasks.iconqa.metric:IconQA",
    "meteor": "metrics.meteor:METEOR",
    "mmbench": "tasks.mmbench.metric:MMBench",
    "mme": "tasks.mme.metric:MME",
    "mmhal": "tasks.judged.metric:MMHal",
    "multiple_choice": "metrics.multiple_choice:MultipleChoice",
    "pathvqa": "tasks.pathvqa.metric:PathVQA",
    "pope": "tasks.pope.metric:POPE",
    "relaxed_accuracy": "metrics.relaxed:RelaxedAccuracy",
    "rouge_l": "metrics.captions:ROUGEL",
    "scienceqa": "tasks.scienceqa.metric:ScienceQA",
    "spice": "metrics.spice:spice",
    "stvqa_accuracy": "tasks.documents.metric:STVQAAccuracy",
    "vizwiz_unanswerability": "tasks.vizwiz.metric:VizWizUnanswerability",
    "vqa_accuracy": "tasks.vqa.metric:VQAAccuracy",
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
    made: Metric = getattr(import_module(f"holdfast.{module}"), attribute)(variant)
    return made

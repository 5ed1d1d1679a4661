"""How often captions of a run name what is not there, of the tasks whose metric counts it."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from holdfast.metrics.registry import get_metric
from holdfast.predictions.file import read_predictions
from holdfast.runs.folder import RunFolder
from holdfast.tasks.task import Task
from holdfast.values import JSON


def hallucinations(folder: RunFolder, tasks: Sequence[Task], answers: RunFolder | None = None) -> JSON:
    """Means over the tasks with such a metric, in points; nothing where there is none.

    Args:
        folder: The run.
        tasks: Of it.
        answers: Where the captions after stand; default: in the run.

    Returns:
        ``hallucinated`` and ``hallucinated_before``: captions of the tuned model and of the base that name something
        that is not there (CHAIRs); ``hallucinated_names``: how much of what the tuned model names is not (CHAIRi).
    """
    found: dict[str, list[float]] = {}
    for task in tasks:
        metric = get_metric(task.metric, task.variant)
        if not getattr(metric, "hallucinations", False):
            continue
        after, before = (
            metric.score(read_predictions(file), task=task.name).details
            for file in ((answers or folder).predictions(task.name), folder.base_predictions(task.name))
        )
        found.setdefault("hallucinated", []).append(after["CHAIRs"])
        found.setdefault("hallucinated_before", []).append(before["CHAIRs"])
        if "CHAIRi" in after:
            found.setdefault("hallucinated_names", []).append(after["CHAIRi"])
    return {name: fsum(values) / len(values) for name, values in found.items()}

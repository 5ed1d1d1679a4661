"""Which layout and which metric a task's official files mean."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from holdfast.errors import HoldfastError, nearest
from holdfast.metrics.registry import METRICS
from holdfast.predictions import plain as records
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request


@dataclass(frozen=True, slots=True)
class Task:
    """A layout (module, or module:function, of this folder), a metric and the variant that is its default here."""

    layout: str
    metric: str
    variant: str | None = None


TASKS: dict[str, Task] = {
    "chair": Task("judged:chair", "chair"),
    "chartqa": Task("documents", "relaxed_accuracy"),
    "coco_captions": Task("captions", "cider"),
    "docvqa": Task("documents", "anls"),
    "flickr30k": Task("captions", "cider"),
    "gqa": Task("gqa", "gqa"),
    "iconqa": Task("iconqa", "iconqa"),
    "iconqa_blank": Task("iconqa", "iconqa"),
    "iconqa_img": Task("iconqa", "iconqa"),
    "iconqa_txt": Task("iconqa", "iconqa"),
    "infographicvqa": Task("documents", "anls"),
    "mmbench": Task("mmbench", "mmbench"),
    "mme": Task("mme", "mme"),
    "mmhal": Task("judged:mmhal", "mmhal"),
    "nocaps": Task("captions", "cider"),
    "ocrvqa": Task("ocrvqa", "exact_match", "stripped"),
    "okvqa": Task("vqa", "vqa_accuracy"),
    "pathvqa": Task("records", "pathvqa"),
    "pope": Task("pope", "pope"),
    "rsvqa": Task("rsvqa", "exact_match"),
    "scienceqa": Task("scienceqa", "scienceqa"),
    "stvqa": Task("documents", "anls"),
    "textcaps": Task("captions", "cider"),
    "textvqa": Task("textvqa", "vqa_accuracy"),
    "vizwiz": Task("vqa", "vqa_accuracy"),
    "vqav2": Task("vqa", "vqa_accuracy"),
}
"""Task-card name -> how its official files are read and scored."""

# Metrics that may be asked for by their own name and read more than plain records.
_METRIC_LAYOUTS = {
    "anls": "documents",
    "bleu": "captions",
    "cider": "captions",
    "meteor": "captions",
    "relaxed_accuracy": "documents",
    "rouge_l": "captions",
    "spice": "captions",
    "stvqa_accuracy": "documents",
    "vizwiz_unanswerability": "vqa",
    "vqa_accuracy": "vqa",
}
# Layouts that are about two files; a prediction file that holds its own references is read as plain records instead.
_NEEDS_REFERENCES = frozenset(
    ("captions", "documents", "gqa", "iconqa", "pope", "rsvqa", "scienceqa", "textvqa", "vqa")
)


def task_names() -> tuple[str, ...]:
    """Every task and, for plain records, every metric that can be asked for by name."""
    return tuple(sorted(TASKS.keys() | set(METRICS.names())))


def find_task(name: str) -> Task:
    """The task of that name; a metric's name stands for plain records scored by it.

    Raises:
        HoldfastError: On an unknown name; the message names the nearest one.
    """
    if name in TASKS:
        return TASKS[name]
    if name in METRICS:
        return Task(_METRIC_LAYOUTS.get(name, "records"), name)
    raise HoldfastError(f"there is no task '{name}'", remedy=nearest(name, task_names()))


def read_items(request: Request, task: Task) -> list[Prediction]:
    """The task's items with their predictions, paired by its layout."""
    module, _, function = task.layout.partition(":")
    if request.references is None and module in _NEEDS_REFERENCES and records.holds_references(request.predictions):
        module = "records"
    home = "predictions.plain" if module == "records" else f"tasks.{module}.results"
    layout = import_module(f"holdfast.{home}")
    items: list[Prediction] = getattr(layout, function or "items")(request)
    return items

"""lmms-eval's ``--log_samples`` files (and lm-evaluation-harness's, which they descend from)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record
from holdfast.predictions.columns import NAMES, as_id, as_key, as_list, as_score, lettered
from holdfast.predictions.layout import Layout, reading_of, stem
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import NOTHING, Prediction
from holdfast.values import JSON

FRAMEWORK = {
    *("doc_id", "doc", "doc_hash", "target", "target_hash", "arguments", "resps", "filtered_resps", "filter", "input"),
    *("prompt_hash", "metrics", "token_counts", "schema_version", "index", "reasoning", "idx", "uncached"),
}
PREFERRED = ("exact_match", "accuracy", "acc", "score", "anls", "relaxed_overall", "submission")
_NAME = re.compile(r"(?:^|_)samples_(?P<task>.+?)(?:_\d{4}-\d\d-\d\dT[\d\-.:]+)?$")


def fits(look: Look) -> bool:
    """Whether the first row is a logged sample."""
    return look.has("doc_id", "filtered_resps resps")


def passes_over(name: str, beside: Collection[str], judges: bool) -> bool:
    """Totals beside the samples."""
    return name.endswith("results.json")


def read(look: Look, ask: Ask) -> Reading:
    """Logged samples. ``ask.columns`` may name the logged metric that is the item's score; a file that does not log it
    keeps its own.

    Raises:
        HoldfastError: A sample without id or response, or several metrics to choose from.
    """
    named = _NAME.search(stem(look.path))
    task = named["task"] if named else stem(look.path)
    score = None if ask.judges else _metric(look.first, ask.columns.get("score"), look)
    kept: list[Prediction] = []
    kept_filter = look.first.get("filter")
    others = 0
    for row in look.rows():
        if row.values.get("filter") != kept_filter:
            others += 1
        else:
            kept.append(_sample(row, look, score, ask.scale))
    told = f"lmms-eval samples of {task}" + (f", scored by '{score}'" if score else ", without a score")
    reading = reading_of(look, told, kept).called(task, named=named is not None)
    if others:
        reading.notes.append(f"{look.path.name}: kept the samples of filter '{kept_filter}', left out {others} others.")
    return reading


def _sample(row: Record, look: Look, metric: str | None, scale: float) -> Prediction:
    values, file, line = row.values, look.path, row.line
    item = as_id(values.get("doc_id"), "doc_id", file, line)
    value = values.get(metric) if metric else None
    if isinstance(value, dict):
        value = value.get("score")
    doc = values["doc"] if isinstance(values.get("doc"), dict) else _logged_fields(values)
    image = next((doc[name] for name in NAMES["image"] if isinstance(doc.get(name), (str, int))), None)
    choices = next((doc[name] for name in NAMES["choices"] if doc.get(name)), None)
    asked = doc.get("question", values.get("input"))
    while isinstance(asked, list) and asked:
        asked = asked[0]
    return Prediction(
        item,
        _response(values, look, line, item),
        as_list(values.get("target"), "target", file, line, item),
        question=asked.replace("<image>", "").strip() if isinstance(asked, str) else "",
        image=as_key(image),
        choices=as_list(choices, "options", file, line, item) or lettered(doc),
        extra=_scalars(doc),
        metric=metric if value is not None else None,
        score=as_score(value, str(metric), scale, file, line, item),
        line=line,
    )


def _logged_fields(values: Mapping[str, Any]) -> JSON:
    """The fields of what a task's metrics logged as objects: newer versions leave the question itself out."""
    logged = [value for name, value in values.items() if name not in FRAMEWORK and isinstance(value, dict)]
    fields: JSON = {}
    for one in reversed(logged):
        fields |= one
    return fields


def _scalars(doc: JSON) -> Mapping[str, Any]:
    """What a metric may group by, names of groups without dashes; pictures and what stands in a field are left."""
    inner = doc.get("metadata")
    extra = {
        name.lower().replace("-", "_"): value
        for name, value in (doc | inner if isinstance(inner, dict) else doc).items()
        if name not in ("question", "image") and isinstance(value, (str, int, float, list)) and value not in ("", [])
    }
    return extra or NOTHING


def _metric(row: Mapping[str, Any], wanted: str | None, look: Look) -> str | None:
    logged = [
        name
        for name, value in row.items()
        if name not in FRAMEWORK
        and (isinstance(value, (bool, int, float)) or (isinstance(value, dict) and "score" in value))
    ]
    if wanted in logged:
        return wanted
    for name in PREFERRED:
        found = [one for one in logged if one == name or one.endswith(f"_{name}")]
        if len(found) == 1:
            return found[0]
    if len(logged) > 1:
        raise HoldfastError(
            f"the samples log several metrics: {', '.join(sorted(logged)[:12])}",
            file=look.path,
            remedy="choose one with --column score=NAME",
        )
    if wanted is not None and not logged:
        raise HoldfastError(f"the samples log no '{wanted}' and no other score", file=look.path)
    return logged[0] if logged else None


def _response(values: Mapping[str, Any], look: Look, line: int, item: str) -> str | None:
    value: Any = values.get("filtered_resps", values.get("resps"))
    while isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise HoldfastError("the sample has no response", file=look.path, line=line, item=item)
    return value


LAYOUTS = (Layout("lmms-eval samples", fits, read, passes_over=passes_over),)

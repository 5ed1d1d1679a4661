"""lmms-eval's ``--log_samples`` files (and lm-evaluation-harness's, which they descend from)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record
from holdfast.predictions.columns import NAMES, as_id, as_index, as_key, as_list, as_score, lettered
from holdfast.predictions.layout import Layout, reading_of, stem
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import NOTHING, Prediction
from holdfast.values import JSON

FRAMEWORK = {
    *("doc_id", "doc", "doc_hash", "target", "target_hash", "arguments", "resps", "filtered_resps", "filter", "input"),
    *("prompt_hash", "metrics", "token_counts", "schema_version", "index", "reasoning", "idx", "uncached"),
}
PREFERRED = ("exact_match", "accuracy", "acc", "score", "anls", "relaxed_overall", "submission", "average")
_NO_TARGETS = (("None",), ("answer",), ("answers",))
"""What stands for an answer that there is none of: ``str`` of what a test split does not have, and the name of a field
that the documents do not have (VQAv2 and TextVQA hold ten ``answers``)."""
_VERDICTS = ("is_correct", "correct", "acc", "accuracy", "exact_match")
"""What a task's logged object calls right and wrong, where it has no ``score``."""
_TOTALS = re.compile(r"results\.json$|^results_\d{4}-\d\d-\d\dT[\d\-.:]+\.json$")
_PICTURE = re.compile(r"\.(?:png|jpe?g|webp)$", re.IGNORECASE)
_NAME = re.compile(r"(?:^|_)samples_(?P<task>.+?)(?:_\d{4}-\d\d-\d\dT[\d\-.:]+)?$")


def fits(look: Look) -> bool:
    """Whether the first row is a logged sample."""
    return look.has("doc_id", "filtered_resps resps")


def passes_over(name: str, beside: Collection[str], judges: bool) -> bool:
    """Totals beside the samples."""
    return _TOTALS.search(name) is not None


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
    if any(all(row.references == nothing for row in kept) for nothing in _NO_TARGETS):
        kept = [replace(row, references=()) for row in kept]
    told = f"lmms-eval samples of {task}" + (f", scored by '{score}'" if score else ", without a score")
    reading = reading_of(look, told, kept).called(task, named=named is not None)
    if others:
        reading.notes.append(f"{look.path.name}: kept the samples of filter '{kept_filter}', left out {others} others.")
    return reading


def _sample(row: Record, look: Look, metric: str | None, scale: float) -> Prediction:
    values, file, line = row.values, look.path, row.line
    item = as_id(values.get("doc_id"), "doc_id", file, line)
    said, target = _response(values, look, line, item), values.get("target")
    value = _verdict(values.get(metric)) if metric else None
    doc = values["doc"] if isinstance(values.get("doc"), dict) else _logged_fields(values)
    image = next((doc[name] for name in NAMES["image"] if isinstance(doc.get(name), (str, int))), None)
    if image is None and _PICTURE.search(str(doc.get("question_id", ""))):
        image = doc["question_id"]  # MME calls its questions by their picture
    choices = next((doc[name] for name in NAMES["choices"] if doc.get(name)), None)
    options = as_list(choices, "options", file, line, item) or lettered(doc)
    asked = doc.get("question", values.get("input"))
    while isinstance(asked, list) and asked:
        asked = asked[0]
    likely = _likeliest(values.get("filtered_resps", values.get("resps")))
    if likely is not None:
        said, target = _chosen(likely, target, options, where=(file, line, item), judged=metric is None)
    return Prediction(
        item,
        said,
        as_list(target, "target", file, line, item),
        question=asked.replace("<image>", "").strip() if isinstance(asked, str) else "",
        image=as_key(image),
        choices=options,
        extra=_scalars(doc),
        metric=metric if value is not None else None,
        score=as_score(value, str(metric), scale, file, line, item),
        line=line,
    )


def _likeliest(value: Any) -> int | None:
    """The option at the largest log-likelihood, where a sample holds one ``[log-likelihood, is greedy]`` an option,
    numbers or (in newer versions) texts; ``None`` where it holds an answer."""
    if not isinstance(value, list) or len(value) < 2:
        return None
    numbers = []
    for one in value:
        inner = one[0] if isinstance(one, list) and len(one) == 1 and isinstance(one[0], list) else one
        if not isinstance(inner, list) or len(inner) != 2 or str(inner[1]).lower() not in ("true", "false"):
            return None
        try:
            numbers.append(float(inner[0]))
        except (TypeError, ValueError):
            return None
    return max(range(len(numbers)), key=numbers.__getitem__)


def _chosen(
    index: int, target: Any, options: Sequence[str], *, where: tuple[Path, int, str], judged: bool
) -> tuple[str, Any]:
    """What a choice by likelihood says and what would be right, both as options' texts where these are known, else as
    their numbers.

    Raises:
        HoldfastError: The two cannot be told apart, and a metric is to judge them.
    """
    number = as_index(str(target).strip())
    if number is not None and max(index, number) < len(options):
        return options[index], options[number]
    if number is None and index < len(options):
        return options[index], target
    if number is None and judged:
        file, line, item = where
        raise HoldfastError(
            "the sample holds log-likelihoods of options and not their texts, so that no metric can judge it",
            file=file,
            line=line,
            item=item,
            remedy="compare by the score that the samples log, without --metric",
        )
    return str(index), target


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


def _verdict(value: Any) -> Any:
    """A logged score; of a logged object its ``score``, else what it calls right and wrong. ``None`` where there is
    none."""
    if not isinstance(value, dict):
        return value
    if "score" in value:
        return value["score"]
    return next(
        (
            value[name]
            for name in _VERDICTS
            if isinstance(value.get(name), (bool, int, float)) and value[name] in (0, 1)
        ),
        None,
    )


def _metric(row: Mapping[str, Any], wanted: str | None, look: Look) -> str | None:
    logged = [
        name
        for name, value in row.items()
        if name not in FRAMEWORK
        and ((isinstance(value, dict) and "score" in value) or isinstance(_verdict(value), (bool, int, float)))
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


LAYOUTS = (Layout("lmms-eval samples", fits, read, passes_over=passes_over, many_scores=True),)

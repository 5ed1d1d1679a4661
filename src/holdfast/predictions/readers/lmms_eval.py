"""lmms-eval's ``--log_samples`` files (and lm-evaluation-harness's, which they descend from)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.file import Guard, checked_score, identifier
from holdfast.predictions.readers.reading import Reading
from holdfast.predictions.readers.rows import Row
from holdfast.predictions.readers.table import scaled
from holdfast.predictions.record import Prediction

FRAMEWORK = {
    *("doc_id", "doc", "doc_hash", "target", "target_hash", "arguments", "resps", "filtered_resps", "filter", "input"),
    *("prompt_hash", "metrics", "token_counts", "schema_version", "index", "reasoning", "idx", "uncached"),
}
PREFERRED = ("exact_match", "accuracy", "acc", "score", "anls", "relaxed_overall", "submission")
_NAME = re.compile(r"(?:^|_)samples_(?P<task>.+?)(?:_\d{4}-\d\d-\d\dT[\d\-.:]+)?$")


def is_samples_row(row: Row) -> bool:
    """Whether a row is a logged sample."""
    return "doc_id" in row and ("filtered_resps" in row or "resps" in row)


def read_samples(
    rows: Iterable[tuple[int, Row]], path: Path, *, score: str | None = None, scale: float = 1.0
) -> Reading:
    """Read logged samples.

    Args:
        rows: Line and sample.
        path: For messages and for the task's name (``..._samples_TASK.jsonl``).
        score: The logged metric to take as the item's score; needed only where several are logged and none is the
            obvious one.
        scale: Value of a perfect score.

    Raises:
        HoldfastError: A sample without id or response, no such metric, or several to choose from.
    """
    guard = Guard(path)
    named = _NAME.search(path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json"))
    task = named["task"] if named else path.stem
    predictions: list[Prediction] = []
    kept_filter: str | None = None
    others = 0
    for line, row in rows:
        if "filter" in row:
            kept_filter = kept_filter or str(row["filter"])
            if str(row["filter"]) != kept_filter:
                others += 1
                continue
        if not predictions:
            score = _metric(row, score, path)
        item = identifier(row.get("doc_id"), path, line)
        value = row.get(score) if score else None
        if isinstance(value, dict):
            value = value.get("score")
        predictions.append(
            guard.check(
                Prediction(
                    id=item,
                    prediction=_response(row, path, line, item),
                    score=checked_score(scaled(value, scale), str(score), score, path, line, item),
                    question=_question(row.get("input")),
                    references=_target(row.get("target")),
                    metric=score if value is not None else None,
                    line=line,
                )
            )
        )
    told = f"lmms-eval samples of {task}" + (f", scored by '{score}'" if score else ", without a score")
    notes = [f"{path.name}: kept the samples of filter '{kept_filter}', left out {others} of others."] if others else []
    return Reading(str(path), told, {task: predictions}, named=named is not None, notes=notes)


def _metric(row: Row, wanted: str | None, path: Path) -> str | None:
    logged = {
        name: value
        for name, value in row.items()
        if name not in FRAMEWORK
        and (isinstance(value, (bool, int, float)) or (isinstance(value, dict) and "score" in value))
    }
    if wanted is not None:
        if wanted not in row:
            raise HoldfastError(
                f"the samples log no '{wanted}'", file=path, remedy="logged: " + (", ".join(sorted(logged)) or "none")
            )
        return wanted
    if len(logged) == 1:
        return next(iter(logged))
    for name in PREFERRED:
        if name in logged:
            return name
    if logged:
        raise HoldfastError(
            f"the samples log several metrics: {', '.join(sorted(logged))}",
            file=path,
            remedy="choose one with --column score=NAME",
        )
    return None


def _response(row: Row, path: Path, line: int, item: str) -> str:
    value: Any = row.get("filtered_resps", row.get("resps"))
    while isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        raise HoldfastError("the sample has no response", file=path, line=line, item=item)
    return value


def _target(value: Any) -> tuple[str, ...]:
    """The log keeps targets as text; a list was written with Python's quotes."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return (str(value),)
    if isinstance(value, list):
        return tuple(str(entry) for entry in value)
    return () if value is None else (str(value),)


def _question(value: Any) -> str:
    while isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) else ""

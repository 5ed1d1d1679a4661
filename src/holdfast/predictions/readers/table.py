"""Rows of a known layout into predictions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.file import Guard, checked_score, identifier, prediction_of, texts
from holdfast.predictions.readers.layouts import Layout
from holdfast.predictions.readers.rows import Row
from holdfast.predictions.record import Prediction


def predictions_of(
    rows: Iterable[tuple[int, Row]], layout: Layout, path: Path, *, scale: float = 1.0
) -> list[Prediction]:
    """Check and convert every row.

    Args:
        rows: Line and row.
        layout: Which column means what.
        path: For messages.
        scale: Value of a perfect score in this file.

    Raises:
        HoldfastError: A row lacks its id or prediction, a score is no number or out of range, an id comes twice, two
            tasks stand in the file.
    """
    guard = Guard(path)
    columns = layout.columns
    strict = layout.name == "Holdfast predictions" and scale == 1.0
    if strict:
        return [guard.check(prediction_of(row, path, line)) for line, row in rows]
    return [guard.check(_prediction(row, line, columns, layout, path, scale)) for line, row in rows]


def _prediction(
    row: Row, line: int, columns: Mapping[str, str], layout: Layout, path: Path, scale: float
) -> Prediction:
    def cell(name: str) -> Any:
        column = columns.get(name)
        value = row.get(column) if column is not None else None
        return None if value == "" and name != "prediction" else value

    question = plain(cell("question"))
    item = _lone_id(row, line, columns, path) if layout.lone_rows else identifier(cell("id"), path, line)
    text = cell("prediction")
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        text = str(text)
    if not isinstance(text, str):
        what = "no prediction" if text is None else f"a prediction that is {type(text).__name__}, not text"
        raise HoldfastError(f"the item has {what} in column '{columns['prediction']}'", file=path, line=line, item=item)
    metric = cell("metric")
    score, lenient = (
        checked_score(scaled(cell(name), scale), name, metric, path, line, item) for name in ("score", "lenient")
    )
    image = cell("image")
    task = cell("task")
    return Prediction(
        id=item,
        prediction=text,
        score=score,
        lenient=lenient,
        task=None if task is None else str(task),
        image=plain(image),
        question=question,
        references=texts(listed(cell("references")), "references", path, line, item),
        choices=texts(listed(cell("choices")), "choices", path, line, item),
        truncated=str(cell("truncated")).lower() in ("1", "true", "yes"),
        metric=metric,
        line=line,
    )


def scaled(value: Any, scale: float) -> Any:
    """A score cell as a number on 0 to 1; texts such as ``True`` and ``0.3`` are read, others left for the check."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "false"):
            value = word == "true"
        else:
            try:
                value = float(word)
            except ValueError:
                return value
    return value / scale if isinstance(value, (int, float)) else value


def _lone_id(row: Row, line: int, columns: Mapping[str, str], path: Path) -> str:
    if row.get("question_id") is not None:
        return identifier(row["question_id"], path, line)
    parts = [row.get(columns[name]) for name in ("image", "question") if name in columns]
    return identifier(" | ".join(str(part) for part in parts if part is not None), path, line)


def listed(value: Any) -> Any:
    """Lists that a table wrote as JSON text; VQA answers that are objects."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    if isinstance(value, list):
        return [entry.get("answer", entry) if isinstance(entry, dict) else entry for entry in value]
    if isinstance(value, dict):
        return list(value.values())
    return value


def plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""VLMEvalKit's tables: one row a question, options in columns A, B, C..., ``hit`` once it has been judged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from holdfast.predictions.readers.layouts import Layout
from holdfast.predictions.readers.reading import Reading
from holdfast.predictions.readers.rows import Row
from holdfast.predictions.readers.table import predictions_of

_OPTION = re.compile(r"[A-J]")
_TAIL = re.compile(r"(_(openai|exact_matching|gpt|chatgpt)\w*)?_result$|_(openai|gpt)\w*$")


def is_table_row(row: Row) -> bool:
    """Whether a row is VLMEvalKit's."""
    return {"index", "prediction"} <= set(row) and bool({"answer", "question", "hit"} & set(row))


def read_table(rows: Iterable[tuple[int, Row]], path: Path, *, scale: float = 1.0) -> Reading:
    """Read a table; without ``hit`` (or ``score``) the items are unscored.

    Raises:
        HoldfastError: As for every table.
    """
    kept = list(rows)
    keys = set(kept[0][1]) if kept else set()
    options = sorted(key for key in keys if _OPTION.fullmatch(key))
    columns = {"id": "index", "prediction": "prediction"}
    for name, candidates in {
        "score": ("hit", "score"),
        "image": ("image_path", "image_url", "image_id"),
        "question": ("question",),
        "references": ("answer",),
    }.items():
        found = next((column for column in candidates if column in keys), None)
        if found:
            columns[name] = found
    layout = Layout("VLMEvalKit table", frozenset(), columns=columns)
    predictions = predictions_of(((line, _clean(row)) for line, row in kept), layout, path, scale=scale)
    if options:
        predictions = [
            replace(prediction, choices=_choices(row, options))
            for prediction, (_, row) in zip(predictions, kept, strict=True)
        ]
    told = "VLMEvalKit table" + (f", scored by '{columns['score']}'" if "score" in columns else ", without scores")
    return Reading(str(path), told, {_TAIL.sub("", path.stem): predictions}, named=False)


def _clean(row: Row) -> Row:
    """An empty cell of the prediction column is an empty answer, not a missing one: pandas writes '' as nothing."""
    return row | {"prediction": ""} if row.get("prediction") is None else row


def _choices(row: Row, options: list[str]) -> tuple[str, ...]:
    cells = [row.get(option) for option in options]
    while cells and cells[-1] in (None, ""):
        cells.pop()
    return tuple("" if cell is None else str(cell) for cell in cells)

"""OCRBench: the official list of questions with the answer of a model in ``predict``."""

from __future__ import annotations

from pathlib import Path

from holdfast.files import Record, records
from holdfast.predictions.columns import as_id, as_list, as_text
from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark, items_layout
from holdfast.predictions.record import Prediction

_COLUMNS = "dataset_name type question answers image_path"
"""``predict`` is not among them: the first questions may have no answer yet."""


def _item(row: Record, file: Path) -> Prediction:
    """An item by data set and number, as the numbers alone come twice."""
    values = row.values
    number = as_id(values.get("id"), "id", file, row.line)
    key = f"{values.get('dataset_name')}/{number}"
    said = values.get("predict")
    return Prediction(
        key,
        None if said == 0 else as_text(said, "predict", file, row.line, key),
        as_list(values.get("answers"), "answers", file, row.line, key),
        question=str(values.get("question", "")),
        image=str(values.get("image_path", "")),
        extra={name: str(values.get(name)) for name in ("dataset_name", "type")},
        line=row.line,
    )


BENCHMARK = Benchmark(
    metrics={"ocrbench": "ocrbench"},
    layouts=(items_layout("OCRBench results", _COLUMNS, _item, "ocrbench"),),
    gold=gold_in(
        *("OCRBench.json", "OCRBench/OCRBench.json"),
        items=lambda file: (_item(row, file) for row in records(file)),
        missing_is_wrong=True,  # as in the official script
    ),
)

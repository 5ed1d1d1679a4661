"""OCRBench: the official list of questions with the answer of a model in ``predict``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from holdfast.files import Record, records
from holdfast.predictions.columns import as_text
from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark, items_layout
from holdfast.predictions.record import Prediction
from holdfast.tasks.ocrbench.download import draft
from holdfast.tasks.preparing.source import Fields

_COLUMNS = "dataset_name type question answers image_path"
"""``predict`` is not among them: the first questions may have no answer yet."""


def _item(row: Record, file: Path) -> Prediction:
    item, said = draft(Fields(file, row.values, row.line)).reference(line=row.line), row.values.get("predict")
    return replace(item, prediction=None if said == 0 else as_text(said, "predict", file, row.line, item.id))


BENCHMARK = Benchmark(
    metrics={"ocrbench": "ocrbench"},
    layouts=(items_layout("OCRBench results", _COLUMNS, _item, "ocrbench"),),
    gold=gold_in(
        *("OCRBench.json", "OCRBench/OCRBench.json"),
        items=lambda file: (_item(row, file) for row in records(file)),
        missing_is_wrong=True,  # as in the official script
    ),
)

"""OCRBench: the official list of questions with the answer of a model in ``predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.files import Record, records
from holdfast.predictions.columns import as_id, as_list, as_text
from holdfast.predictions.gold import Gold, gold_of, inside
from holdfast.predictions.layout import Benchmark, items_layout
from holdfast.predictions.reading import Ask
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


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``OCRBench.json``. An unanswered question counts as wrong, as in the official script."""
    file = inside(place, "OCRBench.json", "OCRBench/OCRBench.json")
    return Gold(file, gold_of(file, (_item(row, file) for row in records(file))), missing_is_wrong=True)


BENCHMARK = Benchmark(
    metrics={"ocrbench": "ocrbench"},
    layouts=(items_layout("OCRBench results", _COLUMNS, _item, "ocrbench"),),
    gold=references,
)

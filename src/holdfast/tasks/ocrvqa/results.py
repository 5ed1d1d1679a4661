"""OCR-VQA: the dataset's own JSON (several questions a book), or plain records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.files import read_json
from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.record import Prediction
from holdfast.tasks.ocrvqa.download import drafts


def _questions(file: Path) -> Iterator[Prediction] | None:
    """The test split of ``dataset.json``, with ids ``<book>_<question number from 0>``."""
    content = None if file.suffix in (".csv", ".tsv", ".xlsx") else read_json(file)
    if not isinstance(content, dict) or not all(isinstance(b, dict) and "questions" in b for b in content.values()):
        return None
    return (draft.reference() for draft in drafts(file, "test"))


BENCHMARK = Benchmark(
    metrics={"ocrvqa": "exact_match:stripped"}, gold=gold_in("dataset.json*", "*.json*", items=_questions)
)

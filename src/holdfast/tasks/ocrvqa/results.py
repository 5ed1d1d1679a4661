"""OCR-VQA: the dataset's own JSON (several questions a book), or plain records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.files import read_json
from holdfast.predictions.gold import Gold, gold_of, inside, plain_gold
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction
from holdfast.tasks.ocrvqa.download import drafts


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """The test split of ``dataset.json``, with ids ``<book>_<question number from 0>``; or plain records."""
    file = inside(place, "dataset.json*", "*.json*")
    content = None if file.suffix in (".csv", ".tsv", ".xlsx") else read_json(file)
    if not isinstance(content, dict) or not all(isinstance(b, dict) and "questions" in b for b in content.values()):
        return plain_gold(file, said, ask)
    return Gold(file, gold_of(file, (draft.reference() for draft in drafts(file, "test"))))


BENCHMARK = Benchmark(metrics={"ocrvqa": "exact_match:stripped"}, gold=references)

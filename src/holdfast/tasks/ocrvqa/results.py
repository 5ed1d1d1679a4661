"""OCR-VQA: the dataset's own JSON (several questions a book), or plain records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.predictions.gold import Gold, inside, plain_gold
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction

TEST = 3


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """The test split of ``dataset.json``, with ids ``<book>_<question number from 0>``; or plain records."""
    file = inside(place, "dataset.json*", "*.json*")
    content = None if file.suffix in (".csv", ".tsv", ".xlsx") else read_json(file)
    if not isinstance(content, dict) or not all(isinstance(b, dict) and "questions" in b for b in content.values()):
        return plain_gold(file, said, ask)
    items = {}
    for book, entry in content.items():
        if entry.get("split") != TEST:
            continue
        if len(entry["questions"]) != len(entry["answers"]):
            raise HoldfastError("the book has not as many answers as questions", file=file, item=book)
        for number, (question, gold) in enumerate(zip(entry["questions"], entry["answers"], strict=True)):
            key = f"{book}_{number}"
            items[key] = Prediction(key, None, (str(gold),), question=str(question), image=book)
    return Gold(file, items)


BENCHMARK = Benchmark(metrics={"ocrvqa": "exact_match:stripped"}, gold=references)

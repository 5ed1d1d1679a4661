"""OCR-VQA: the dataset's own JSON (several questions a book), or plain records."""

from __future__ import annotations

from holdfast.errors import HoldfastError
from holdfast.predictions import plain as records
from holdfast.predictions.answers import pair, read_answers
from holdfast.predictions.official_files import read_json
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request, inside

TEST = 3


def items(request: Request) -> list[Prediction]:
    """Predictions with ids ``<book>_<question number from 0>`` against ``dataset.json`` (its test split).

    Any other references are plain records with ids of their own.
    """
    if request.references is None:
        return records.items(request)
    file = inside(request.needed, "dataset.json*", "*.json*")
    content = read_json(file)
    if not isinstance(content, dict) or not all(isinstance(b, dict) and "questions" in b for b in content.values()):
        return records.items(request)
    references = {}
    for book, entry in content.items():
        if entry.get("split") != TEST:
            continue
        if len(entry["questions"]) != len(entry["answers"]):
            raise HoldfastError("the book has not as many answers as questions", file=file, item=book)
        for number, (question, gold) in enumerate(zip(entry["questions"], entry["answers"], strict=True)):
            key = f"{book}_{number}"
            references[key] = Prediction(key, references=(str(gold),), question=str(question), image=book)
    return pair(read_answers(request.predictions), references, file, intersect=request.intersect)

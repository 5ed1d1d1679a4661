"""DocVQA, InfographicVQA and ST-VQA (``{data: [...]}``), and ChartQA, whose records have no ids of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record, read_json
from holdfast.predictions.columns import OTHERS, Columns, as_id, as_key, as_list
from holdfast.predictions.gold import Gold, gold_of, inside, the_list
from holdfast.predictions.layout import Benchmark, Layout, reading_of, rows_layout
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction

_ANSWERS = ("answers", "valid_answers", "label", "answer")


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``{data: [{questionId, answers}]}``, or ChartQA's list, whose records are known by image and question."""
    file = inside(place, "*val*.json*", "*test*.json*", "*.json*")
    return Gold(file, gold_of(file, (_item(file, record) for record in the_list(read_json(file), file, "data"))))


def _item(file: Path, record: Mapping[str, Any]) -> Prediction:
    key = _key(record)
    if key is None:
        raise HoldfastError("a reference has neither an id nor image and question", file=file)
    given = next((record[name] for name in _ANSWERS if record.get(name) is not None), None)
    if given is None:
        raise HoldfastError("the question has no answers, as test splits have none", file=file, item=key)
    half = next((name for name in ("human", "augmented") if name in file.name), None)
    return Prediction(
        key,
        references=as_list(given, "answers", file, None, key),
        question=str(record.get("question", record.get("query", ""))),
        image=as_key(record.get("image") or record.get("image_local_name") or record.get("imgname")),
        extra={"split": half} if half else {},
    )


def _key(record: Mapping[str, Any]) -> str | None:
    for name in ("questionId", "question_id", "id"):
        if name in record:
            return str(record[name])
    image, query = record.get("imgname"), record.get("query")
    return f"{image}: {query}" if image and query else None


def _read_charts(look: Look, ask: Ask) -> Reading:
    columns = Columns({"id": "id", "prediction": _said(look), "question": "query", "image": "imgname"}, file=look.path)

    def keyed(row: Record) -> Record:
        return Record(row.line, {**row.values, "id": as_id(_key(row.values), "query", look.path, row.line)})

    return reading_of(look, "ChartQA answers", columns.predictions(map(keyed, look.rows())))


def _said(look: Look) -> str:
    return next(name for name in ("prediction", "answer") if name in look.keys)


SUBMISSION = rows_layout(
    "DocVQA results",
    "questionId answer",
    {"id": "questionId", "prediction": "answer"},
    without=OTHERS,
)
CHARTS = Layout("ChartQA answers", lambda look: look.has("imgname query", "answer prediction"), _read_charts)
BENCHMARK = Benchmark(
    metrics={
        "chartqa": "relaxed_accuracy",
        "docvqa": "anls",
        "infographicvqa": "anls",
        "stvqa": "anls",
    },
    layouts=(SUBMISSION, CHARTS),
    gold=references,
    also_for=("anls", "relaxed_accuracy", "stvqa_accuracy"),
)

"""DocVQA, InfographicVQA and ST-VQA (``{data: [...]}``), and ChartQA, whose records have no ids of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.files import Record
from holdfast.predictions.columns import OTHERS, Columns, as_id, as_key, as_list
from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark, Layout, reading_of, rows_layout
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.tasks.preparing.source import Fields, read_records

_ANSWERS = ("answers", "valid_answers", "label", "answer")


def _item(record: Fields) -> Prediction:
    """A record of ``{data: [{questionId, answers}]}``, or of ChartQA's list, which is known by image and question."""
    key = _key(record.values)
    if key is None:
        raise record.fault("a reference has neither an id nor image and question")
    given = next((record.get(name) for name in _ANSWERS if record.get(name) is not None), None)
    if given is None:
        raise record.named(key).fault("the question has no answers, as test splits have none")
    half = next((name for name in ("human", "augmented") if name in record.file.name), None)
    return Prediction(
        key,
        references=as_list(given, "answers", record.file, record.line, key),
        question=record.words("question") or record.words("query"),
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
    gold=gold_in(
        *("*val*.json*", "*test*.json*", "*.json*"), items=lambda file: map(_item, read_records(file, None, "data"))
    ),
    also_for=("anls", "relaxed_accuracy", "stvqa_accuracy"),
)

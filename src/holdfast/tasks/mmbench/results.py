"""MMBench: the benchmark's table, and answers by index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.answers import Answer, Answers, from_rows, pair
from holdfast.predictions.official_files import Row, read_rows
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request
from holdfast.tasks.mmbench.metric import ROTATION


def items(request: Request) -> list[Prediction]:
    """Answers ``{index, prediction}`` or LLaVA's ``{question_id, round_id, text, options, option_char}`` against the
    benchmark's TSV; a prediction table that holds options and answer itself needs no references."""
    rows = read_rows(request.predictions)
    place = request.predictions if request.references is None else request.needed
    table = rows if request.references is None else read_rows(place)
    references = {}
    for row in table:
        item = _reference(place, row)
        references[item.id] = item
    if rows and "round_id" in rows[0].record:
        return _rounds(request, rows, references)
    texts = ("prediction", "text", "answer") if request.references is not None else ("prediction",)
    answers = from_rows(request.predictions, rows, ids=("index", "question_id", "id"), texts=texts)
    return pair(answers, references, place, intersect=request.intersect)


def _reference(file: Path, row: Row) -> Prediction:
    record = row.record
    key = str(record.get("index", record.get("question_id", "")))
    gold = str(record.get("answer", "")).strip()
    if gold not in ascii_uppercase or len(gold) != 1:
        raise HoldfastError("the row has no gold letter, as test splits have none", file=file, line=row.line, item=key)
    fields = {"category": "category", "l2_category": "l2-category", "split": "split"}
    extra = {name: record[column] for name, column in fields.items() if record.get(column)}
    image = str(int(key) % ROTATION) if key.isdecimal() else ""
    return Prediction(
        key,
        None,
        references=(gold,),
        question=str(record.get("question", "")),
        image=image,
        choices=options(record),
        extra=extra,
    )


def options(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Options A, B, C... of a table row up to the first empty one."""
    found = []
    for name in ascii_uppercase:
        text = str(record.get(name) or "").strip()
        if not text or text.lower() == "nan":
            break
        found.append(text)
    return tuple(found)


def _rounds(request: Request, rows: list[Row], references: Mapping[str, Prediction]) -> list[Prediction]:
    """LLaVA's rounds: one row a rotation, its options already rotated, ``option_char`` naming the original letters."""
    by_id: dict[str, Answer] = {}
    rotated: dict[str, Prediction] = {}
    for row in rows:
        base, turn = str(row.record.get("question_id")), row.record.get("round_id")
        reference = references.get(base)
        if reference is None or not isinstance(turn, int):
            raise HoldfastError("the index is not in the table", file=request.predictions, line=row.line, item=base)
        key = str(int(base) + turn * ROTATION)
        letters = row.record.get("option_char") or list(ascii_uppercase[: len(reference.choices)])
        choices = tuple(map(str, row.record.get("options") or reference.choices))
        extra = {**reference.extra, "answer_index": letters.index(reference.references[0])}
        rotated[key] = replace(reference, id=key, choices=choices, extra=extra)
        if key in by_id:
            raise HoldfastError("the round is answered twice", file=request.predictions, line=row.line, item=key)
        text = row.record.get("text")
        by_id[key] = Answer(key, text if isinstance(text, str) else None, row.line, row=row.record)
    absent = references.keys() - {str(int(key) % ROTATION) for key in by_id}
    complete = {**{key: references[key] for key in sorted(absent)}, **rotated}
    return pair(Answers(request.predictions, by_id), complete, request.needed, intersect=request.intersect)

"""MathVista: ``testmini.json`` by problem, its images in a folder beside it."""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase

from holdfast.tasks.mathvista.metric import TABLES
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source, read_objects

DECIMALS = {1: ("one decimal place", "1.2, 1.3, 1.4"), 2: ("two decimal places", "1.23, 1.34, 1.45")}


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by pid, the question being the query that the official files put to a model without examples."""
    file = source.file(f"{split}.json", f"data/{split}.json")
    inside = source.folder("images", "data/images").removesuffix("images")
    for key, record in read_objects(file, nan_is_none=True).items():
        if record.get("answer") is None:
            continue
        choices = tuple(map(str, record.get("choices") or ()))
        answer = record.text("answer")
        if choices and answer not in choices:
            raise record.fault(f"the answer '{answer[:40]}' is none of the choices")
        metadata = record.get("metadata") or {}
        extra = {name: record.get(name, metadata.get(name)) for name in (*TABLES, "precision", "unit")}
        if choices:
            extra["answer_index"] = choices.index(answer)
        image = f"{inside}{record.take('image')}"
        yield Draft(key, query(record), (answer,), image, choices=choices, extra=extra)


def query(record: Fields) -> str:
    """Hint, question and choices as in ``data/query.json`` of lupantech/MathVista."""
    unit, choices = record.get("unit"), record.get("choices") or ()
    lines = [f"Hint: {_hint(record)}", f"Question: {record.take('question')}" + (f" (Unit: {unit})" if unit else "")]
    if choices:
        lines += ["Choices:", *(f"({ascii_uppercase[at]}) {choice}" for at, choice in enumerate(choices))]
    return "\n".join(lines).strip()


def _hint(record: Fields) -> str:
    kind, precision = record.get("answer_type"), record.get("precision")
    if record.get("question_type") == "multi_choice":
        return "Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end."
    wanted, example = "an integer answer", "value, e.g., 1, 2, 3"
    if kind == "float":
        places, numbers = DECIMALS[2 if precision == 2 else 1]
        wanted, example = f"a floating-point number with {places}", f"value, e.g., {numbers}"
    elif kind == "list":
        wanted, example = "a Python list as an answer", "list, e.g., [1, 2, 3], [1.2, 1.3, 1.4]"
    return f"Please answer the question requiring {wanted} and provide the final {example}, at the end."

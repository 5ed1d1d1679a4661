"""TextVQA: the dataset's JSON, and LLaVA answers that name the image instead of the question."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions.answers import Answer, Answers, answer, from_mapping, from_rows, pair
from holdfast.predictions.official_files import Row, read, read_json
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request, inside

_OCR_FIRST = re.compile(r"Question: (.*?) Short answer:", re.DOTALL)


def items(request: Request) -> list[Prediction]:
    """Results ``[{question_id, answer}]`` by question id, or LLaVA's JSON Lines, whose ``question_id`` is the image and
    whose question stands in the prompt, by image and question."""
    file = inside(request.needed, "TextVQA*val*.json*", "*.json*")
    references = _references(file)
    content = read(request.predictions)
    if isinstance(content, dict):
        answers = Answers(request.predictions, from_mapping(request.predictions, content))
    elif _names_images(content, references):
        answers = _by_question(request.predictions, content, references)
    else:
        answers = from_rows(request.predictions, content)
    return pair(answers, references, file, intersect=request.intersect)


def _references(file: Path) -> dict[str, Prediction]:
    content = read_json(file)
    records = content.get("data") if isinstance(content, dict) else content
    if not isinstance(records, list):
        raise HoldfastError("the references have no list under 'data'", file=file)
    made = {}
    for record in records:
        key = str(record.get("question_id"))
        if "answers" not in record:
            raise HoldfastError("the question has no answers, as test splits have none", file=file, item=key)
        extra = {"image_classes": record.get("image_classes")}
        answers, image = tuple(map(str, record["answers"])), str(record.get("image_id", ""))
        made[key] = Prediction(
            key, None, references=answers, question=str(record.get("question", "")), image=image, extra=extra
        )
    return made


def _names_images(rows: list[Row], references: Mapping[str, Prediction]) -> bool:
    images = {item.image for item in references.values()}
    return bool(rows) and str(rows[0].record.get("question_id")) in images and "prompt" in rows[0].record


def question_of(prompt: str) -> str | None:
    """The question inside one of LLaVA's three TextVQA prompts, in lower case; ``None`` for any other prompt."""
    if prompt.startswith("OCR tokens: "):
        found = _OCR_FIRST.search(prompt)
        return found.group(1).lower() if found else None
    lines = prompt.split("\n")
    if "Reference OCR token: " in prompt and len(lines) == 3:
        return lines[1 if prompt.startswith("Reference OCR token:") else 0].lower()
    return lines[0].lower() if len(lines) == 2 else None


def _by_question(file: Path, rows: list[Row], references: Mapping[str, Prediction]) -> Answers:
    known = {(item.image, item.question.lower()): item.id for item in references.values()}
    by_id: dict[str, Answer] = {}
    for row in rows:
        one = answer(file, row, "question_id", "text")
        question = question_of(one.prompt or "")
        key = known.get((one.id, question)) if question is not None else None
        if key is None:
            raise HoldfastError(
                "image and question of the prompt are not in the references", file=file, line=row.line, item=one.id
            )
        if key in by_id:
            raise HoldfastError("the question is answered twice", file=file, line=row.line, item=key)
        by_id[key] = replace(one, id=key)
    return Answers(file, by_id)

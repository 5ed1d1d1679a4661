"""TextVQA: the dataset's JSON, and LLaVA answers that name the image instead of the question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions.gold import Gold, gold_of, inside
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction
from holdfast.tasks.preparing.source import Fields, read_records

_OCR_FIRST = re.compile(r"Question: (.*?) Short answer:", re.DOTALL)


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """Questions by id; LLaVA's answers, whose id is the image, are found by image and by the question in the prompt.

    Raises:
        HoldfastError: Image and question of a prompt are not in the references.
    """
    file = inside(place, "TextVQA*val*.json*", "*.json*")
    items = gold_of(file, map(_item, read_records(file, None, "data", named="question_id")))
    images = {item.image for item in items.values()}
    if not said or said[0].id in items or (said[0].image or said[0].id) not in images:
        return Gold(file, items)
    known = {(item.image, item.question.lower()): item.id for item in items.values()}
    renamed = []
    for one in said:
        image = one.image or one.id
        key = known.get((image, question_of(one.question) or ""))
        if key is None:
            problem = "image and question of the prompt are not in the references"
            raise HoldfastError(problem, line=one.line, item=image)
        renamed.append(replace(one, id=key))
    return Gold(file, items, list(gold_of(file, renamed).values()))


def _item(record: Fields) -> Prediction:
    return Prediction(
        record.item,
        references=tuple(record.answers()),
        question=record.words("question"),
        image=record.words("image_id"),
        extra={"image_classes": record.get("image_classes")},
    )


def question_of(prompt: str) -> str | None:
    """The question inside one of LLaVA's three TextVQA prompts, in lower case; ``None`` for any other prompt."""
    if prompt.startswith("OCR tokens: "):
        found = _OCR_FIRST.search(prompt)
        return found.group(1).lower() if found else None
    lines = prompt.split("\n")
    if "Reference OCR token: " in prompt and len(lines) == 3:
        return lines[1 if prompt.startswith("Reference OCR token:") else 0].lower()
    return lines[0].lower() if len(lines) == 2 else None


BENCHMARK = Benchmark(metrics={"textvqa": "vqa_accuracy"}, gold=references)

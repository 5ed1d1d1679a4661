"""IconQA: a folder a problem, below its split and sub-task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, listed, take

BASES = (".", "iconqa", "iconqa_data/iconqa", "data/iconqa")


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of one sub-task of ``train``, ``val`` or ``test``; a choice is answered by its text."""
    subtask = source.card.options["subtask"]
    folder = source.folder(*(f"{base}/{split}/{subtask}".removeprefix("./") for base in BASES))
    base = source.root / folder.removesuffix(f"{split}/{subtask}")
    skills = _skills(base / "pid2skills.json")
    files = sorted((source.root / folder).glob("*/data.json"), key=lambda file: _order(file.parent.name))
    if not files:
        raise source.missing(f"'{folder}/<id>/data.json'")
    for file in files:
        yield _draft(file, f"{folder}/{file.parent.name}/image.png", subtask, skills)


def _draft(file: Path, image: str, subtask: str, skills: Mapping[str, Any]) -> Draft:
    key = file.parent.name
    record = read_json(file)
    if not isinstance(record, dict):
        raise HoldfastError("the problem is not a JSON object", file=file, item=key)
    answer = take(record, "answer", file=file, item=key)
    extra = {"subtask": subtask, "grade": record.get("grade"), "label": record.get("label"), "skills": skills.get(key)}
    question = str(take(record, "question", file=file, item=key))
    if subtask == "fill_in_blank":
        return Draft(key, question, (str(answer),), image, extra=extra)
    choices = tuple(str(choice) for choice in listed(record, "choices", file=file, item=key))
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise HoldfastError(f"the answer {answer!r} is no index of the {len(choices)} choices", file=file, item=key)
    return Draft(key, question, (choices[answer],), image, choices, {"answer_index": answer, **extra})


def _skills(file: Path) -> Mapping[str, Any]:
    content = read_json(file) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def _order(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else -1, name)

"""IconQA: a folder a problem, below its split and sub-task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source

BASES = ("", "iconqa/", "iconqa_data/iconqa/", "data/iconqa/")


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of one sub-task of ``train``, ``val`` or ``test``; a choice is answered by its text."""
    subtask = source.card.options["subtask"]
    folder = source.folder(*(f"{base}{split}/{subtask}" for base in BASES))
    base = source.root / folder.removesuffix(f"{split}/{subtask}")
    skills = beside(base / "pid2skills.json")
    files = sorted((source.root / folder).glob("*/data.json"), key=lambda file: _order(file.parent.name))
    if not files:
        raise source.missing(f"'{folder}/<id>/data.json'")
    for file in files:
        record = problem(file)
        found = draft(record, subtask, skills.get(record.item))
        yield replace(found, image=f"{folder}/{record.item}/image.png")


def problem(file: Path) -> Fields:
    """The problem of a ``<id>/data.json``.

    Raises:
        HoldfastError: The file holds none.
    """
    values = read_json(file)
    if not isinstance(values, dict):
        raise HoldfastError("the problem is not a JSON object", file=file, item=file.parent.name)
    return Fields(file, values, item=file.parent.name)


def draft(record: Fields, subtask: str, skills: Any) -> Draft:
    """A problem without its image; a choice is answered by its text."""
    extra = {"subtask": subtask, "grade": record.get("grade"), "label": record.get("label"), "skills": skills}
    question = record.words("question")
    if subtask == "fill_in_blank":
        return Draft(record.item, question, (record.answer(),), None, extra=extra)
    choices = tuple(map(str, record.listed("choices")))
    answer = record.index(len(choices))
    return Draft(record.item, question, (choices[answer],), None, choices, {"answer_index": answer, **extra})


def beside(file: Path) -> Mapping[str, Any]:
    """An object by id that may be there."""
    content = read_json(file) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def _order(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else -1, name)

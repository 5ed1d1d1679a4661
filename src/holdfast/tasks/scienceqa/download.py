"""ScienceQA: ``problems.json`` with ``pid_splits.json``; questions without an image are items too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source, read_objects
from holdfast.values import JSON

SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train``, ``val`` or ``test``, answered by the letter of the right choice."""
    file = source.file("problems.json", "data/scienceqa/problems.json")
    ids_file = source.file("pid_splits.json", "data/scienceqa/pid_splits.json")
    problems, splits = read_objects(file), read_json(ids_file)
    ids = splits.get(split) if isinstance(splits, dict) else None
    if not isinstance(ids, list):
        raise HoldfastError(f"the split '{split}' is missing", file=ids_file)
    images: str | None = None
    for key in map(str, ids):
        if key not in problems:
            raise HoldfastError(f"the problem is not in {file.name}", file=ids_file, item=key)
        found = draft(problems[key])
        if found.image is not None and images is None:
            images = source.folder(f"images/{split}", split, f"data/scienceqa/images/{split}")
        yield found if found.image is None else replace(found, image=f"{images}/{found.image}")


def draft(record: Fields) -> Draft:
    """A problem, its image as it lies in the folder of its split."""
    choices = tuple(map(_tidy, record.listed("choices")))
    answer = record.index(len(choices))
    hint, pictured = _tidy(record.get("hint") or ""), bool(record.get("image"))
    grade = "".join(filter(str.isdigit, record.words("grade")))
    extra: JSON = {
        "answer_index": answer,
        "hint": hint or None,
        "subject": SUBJECTS.get(record.words("subject")),
        "context": context(bool(hint), pictured),
        "grade": None if not grade else "G1-6" if int(grade) <= 6 else "G7-12",
        "topic": record.get("topic"),
        "skill": record.get("skill"),
    }
    image = f"{record.safe(record.item)}/{record.safe(record.text('image'))}" if pictured else None
    return Draft(record.item, _tidy(record.words("question")), (ascii_uppercase[answer],), image, choices, extra)


def context(hint: bool, pictured: bool) -> list[str]:
    """The columns of the official table in which a question counts by what is given beside it."""
    return [name for name, there in (("TXT", hint), ("IMG", pictured), ("NO", not hint and not pictured)) if there]


def _tidy(text: Any) -> str:
    """Double blanks as one, as LLaVA's conversion writes them."""
    return str(text).replace("  ", " ").strip()

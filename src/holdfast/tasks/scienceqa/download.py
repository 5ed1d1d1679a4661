"""ScienceQA: ``problems.json`` with ``pid_splits.json``; questions without an image are items too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, listed, read_objects, safe_part, take
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
        record = problems[key]
        if record.get("image") and images is None:
            images = source.folder(f"images/{split}", split, f"data/scienceqa/images/{split}")
        yield _draft(file, safe_part(key, file=file), record, images)


def _draft(file: Path, key: str, record: Mapping[str, Any], images: str | None) -> Draft:
    choices = tuple(_tidy(choice) for choice in listed(record, "choices", file=file, item=key))
    answer = take(record, "answer", file=file, item=key)
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise HoldfastError(f"the answer {answer!r} is no index of the {len(choices)} choices", file=file, item=key)
    hint, pictured = _tidy(record.get("hint") or ""), bool(record.get("image"))
    grade = "".join(filter(str.isdigit, str(record.get("grade", ""))))
    context = [name for name, there in (("TXT", hint), ("IMG", pictured), ("NO", not hint and not pictured)) if there]
    extra: JSON = {
        "answer_index": answer,
        "hint": hint or None,
        "subject": SUBJECTS.get(str(record.get("subject"))),
        "context": context,
        "grade": None if not grade else "G1-6" if int(grade) <= 6 else "G7-12",
        "topic": record.get("topic"),
        "skill": record.get("skill"),
    }
    name = safe_part(str(record["image"]), file=file, item=key) if pictured else ""
    return Draft(
        key,
        _tidy(take(record, "question", file=file, item=key)),
        (ascii_uppercase[answer],),
        f"{images}/{key}/{name}" if pictured else None,
        choices,
        extra,
    )


def _tidy(text: Any) -> str:
    """Double blanks as one, as LLaVA's conversion writes them."""
    return str(text).replace("  ", " ").strip()

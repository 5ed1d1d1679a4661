"""Gold answers by id, from the official files of several benchmarks or any table with an id and an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.evaluation.predictions import identifier, texts
from holdfast.evaluation.readers.layouts import ALIASES
from holdfast.evaluation.readers.rows import Row, kind_of, rows_of, whole_json
from holdfast.evaluation.readers.table import listed, plain

ID = ("id", "question_id", "questionId", "qid", "index", "pid", "image_id")
ANSWER = ("references", "answers", "answer", "label", "ground_truth", "gt_answer", "gt", "gold", "target", "caption")
_OPTION_LINE = re.compile(r"^([A-J])\. (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Gold:
    """What is known of an item besides the prediction."""

    references: tuple[str, ...]
    choices: tuple[str, ...] = ()
    image: str | None = None
    question: str = ""


def read_references(path: Path) -> dict[str, Gold]:
    """Read references by id.

    Known: VQA annotations, COCO captions, LLaVA's conversation lists (ScienceQA), ScienceQA's ``problems.json``,
    POPE labels, DocVQA ground truth, and any rows with an id and an answer; gzipped or not.

    Raises:
        HoldfastError: Unreadable, an entry without id or answer, or an id with two different entries.
    """
    kind = kind_of(path)
    if kind != "json":
        return _rows(rows_of(path, kind), path)
    content = whole_json(path)
    if isinstance(content, dict):
        for name in ("annotations", "data", "questions"):
            if isinstance(content.get(name), list):
                content = content[name]
                break
        else:
            if content and all(isinstance(entry, dict) for entry in content.values()):
                content = [{"id": key, **entry} for key, entry in content.items()]
    if not isinstance(content, list):
        raise HoldfastError("the references are neither rows nor a known official file", file=path)
    return _rows(enumerate(content, start=1), path)


def _rows(rows: Iterable[tuple[int, Any]], path: Path) -> dict[str, Gold]:
    gold: dict[str, Gold] = {}
    for line, row in rows:
        if not isinstance(row, dict):
            raise HoldfastError(f"entry {line} of the references is not an object", file=path)
        if "conversations" in row:
            item, entry = _conversation(row, line, path)
        else:
            item, entry = _entry(row, line, path)
        known = gold.get(item)
        if known is None:
            gold[item] = entry
        elif "caption" in row:  # COCO: one row a caption
            gold[item] = Gold(known.references + entry.references, image=known.image)
        else:
            raise HoldfastError("the id stands twice in the references", file=path, line=line, item=item)
    return gold


def _entry(row: Row, line: int, path: Path) -> tuple[str, Gold]:
    names = ("image_id",) if "caption" in row and "image_id" in row else ID
    item = identifier(next((row[name] for name in names if row.get(name) is not None), None), path, line)
    answer = next((row[name] for name in ANSWER if row.get(name) is not None), None)
    if answer is None:
        raise HoldfastError("the reference has no answer", file=path, line=line, item=item)
    image = next((row[name] for name in ALIASES["image"] if row.get(name)), None)
    if image is not None and str(image) in ("image.png", "image.jpg"):
        image = item  # ScienceQA and IconQA keep every picture under one name in a folder of its own
    question = next((row[name] for name in ("question", "text", "prompt") if row.get(name)), None)
    return item, Gold(
        references=texts(listed(answer), "answer", path, line, item),
        choices=texts(listed(row.get("choices", row.get("options"))), "choices", path, line, item),
        image=None if image is None else str(image),
        question=plain(question),
    )


def _conversation(row: Row, line: int, path: Path) -> tuple[str, Gold]:
    item = identifier(row.get("id"), path, line)
    turns = row["conversations"]
    if not isinstance(turns, list) or len(turns) < 2 or not all(isinstance(turn, dict) for turn in turns):
        raise HoldfastError("the conversation has no question and answer", file=path, line=line, item=item)
    question, answer = str(turns[0].get("value", "")), str(turns[1].get("value", ""))
    options = tuple(text for _, text in _OPTION_LINE.findall(question))
    image = row.get("image")
    return item, Gold((answer,), options, None if image is None else str(image), question)

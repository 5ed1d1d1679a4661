"""What a model answered, by id, from any of the shapes that people write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.official_files import Row, as_text, read
from holdfast.predictions.record import Prediction

ID_KEYS = ("question_id", "questionId", "questionid", "id", "qid", "image_id", "index", "idx", "item_id", "image")
TEXT_KEYS = (
    "prediction", "text", "answer", "caption", "pred_answer", "pred", "model_answer", "output", "response",
    "generated_text", "model_output", "hypothesis",
)  # fmt: skip
TASK_KEYS = ("task", "dataset", "benchmark")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as read; ``row`` is the whole record."""

    id: str
    text: str | None
    line: int | None = None
    prompt: str | None = None
    truncated: bool = False
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of one file by id."""

    file: Path
    by_id: Mapping[str, Answer]


def read_answers(path: Path, *, ids: Sequence[str] = ID_KEYS, texts: Sequence[str] = TEXT_KEYS) -> Answers:
    """Answers of a file of records, or of one JSON object that maps ids to answers (also under ``results``).

    Args:
        path: The predictions.
        ids: Names the id may have, likeliest first; the first one that the first record has is used.
        texts: Names the answer may have, likewise.

    Raises:
        HoldfastError: On an id that is absent or comes twice, an absent answer, or records of several tasks.
    """
    content = read(path)
    if isinstance(content, dict):
        return Answers(path, from_mapping(path, content))
    return from_rows(path, content, ids=ids, texts=texts)


def from_rows(
    path: Path, rows: Sequence[Row], *, ids: Sequence[str] = ID_KEYS, texts: Sequence[str] = TEXT_KEYS
) -> Answers:
    """As :func:`read_answers`, from rows already read."""
    if not rows:
        raise HoldfastError("there are no predictions in the file", file=path)
    refuse_mixed_tasks(path, rows)
    id_key = _key(path, rows[0], ids, "id")
    text_key = _key(path, rows[0], [name for name in texts if name != id_key], "answer")
    by_id: dict[str, Answer] = {}
    for row in rows:
        one = answer(path, row, id_key, text_key)
        if one.id in by_id:
            first = by_id[one.id].line
            known = f", first on line {first}" if first is not None else ""
            raise HoldfastError(f"the id comes twice{known}", file=path, line=row.line, item=one.id)
        by_id[one.id] = one
    return Answers(path, by_id)


def answer(path: Path, row: Row, id_key: str, text_key: str) -> Answer:
    """The answer in one record.

    Raises:
        HoldfastError: Where the record lacks its id or its answer.
    """
    record = row.record
    identity = identifier(record.get(id_key))
    if identity is None:
        raise HoldfastError(f"the record has no '{id_key}'", file=path, line=row.line)
    if text_key not in record:
        raise HoldfastError(f"the record has no '{text_key}'", file=path, line=row.line, item=identity)
    prompt = record.get("prompt")
    text = as_text(record[text_key], path, row.line, identity)
    return Answer(identity, text, row.line, prompt if isinstance(prompt, str) else None, was_cut(record), record)


def identifier(value: object) -> str | None:
    """An id as text; numbers and strings only."""
    if isinstance(value, str) and value:
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def was_cut(record: Mapping[str, Any]) -> bool:
    """Whether the record says that generation stopped at its length limit."""
    metadata = record.get("metadata")
    reasons = [record.get("finish_reason"), metadata.get("finish_reason") if isinstance(metadata, dict) else None]
    return record.get("truncated") is True or any(r in ("length", "max_tokens", "max_new_tokens") for r in reasons)


def from_mapping(path: Path, content: Mapping[str, Any]) -> dict[str, Answer]:
    """Answers from one JSON object: ids to answers, directly or under ``results`` or ``predictions``."""
    for name in ("results", "predictions"):
        inner = content.get(name)
        if isinstance(inner, dict):
            return from_mapping(path, inner)
    return {key: Answer(key, as_text(value, path, None, key)) for key, value in content.items()}


def refuse_mixed_tasks(path: Path, rows: Sequence[Row]) -> None:
    """Refuse records that name more than one task."""
    for key in TASK_KEYS:
        first = next((row for row in rows if isinstance(row.record.get(key), str)), None)
        if first is None:
            continue
        for row in rows:
            name = row.record.get(key)
            if isinstance(name, str) and name != first.record[key]:
                raise HoldfastError(
                    f"the file mixes the tasks '{first.record[key]}' and '{name}'",
                    file=path,
                    line=row.line,
                    remedy="score one task a file",
                )


def _key(path: Path, row: Row, names: Sequence[str], what: str) -> str:
    for name in names:
        if name in row.record:
            return name
    found = ", ".join(sorted(row.record)[:12])
    raise HoldfastError(
        f"the first record has no {what}: none of {', '.join(names[:6])}... but {found}", file=path, line=row.line
    )


def pair(
    answers: Answers,
    references: Mapping[str, Prediction],
    file: Path,
    *,
    intersect: bool = False,
    missing_is_wrong: bool = False,
) -> list[Prediction]:
    """Items with their predictions, by id, never by position.

    Args:
        answers: What was predicted.
        references: Items without predictions, by id.
        file: Where the references come from, for messages.
        intersect: Score only the ids both sides have, instead of refusing different sets.
        missing_is_wrong: The task's official script counts an unanswered question as wrong; so these stay in.

    Raises:
        HoldfastError: Where no id is shared, an id is unknown, or a reference has no prediction.
    """
    said = answers.by_id
    shared = said.keys() & references.keys()
    if not shared:
        raise HoldfastError(
            f"no id is shared with the references {file.name} (ids like '{next(iter(said), '')}' here and "
            f"'{next(iter(references), '')}' there)",
            file=answers.file,
            remedy="give the references of the same split and copy of the task",
        )
    unknown = [one for key, one in said.items() if key not in shared]
    missing = [key for key in references if key not in shared]
    if unknown and not intersect:
        raise HoldfastError(
            f"the id is not in the references {file.name} ({len(unknown)} such of {len(said)})",
            file=answers.file,
            line=unknown[0].line,
            item=unknown[0].id,
            remedy="give the references of the same split, or --intersect to score only what both have",
        )
    if missing and not intersect and not missing_is_wrong:
        raise HoldfastError(
            f"{len(missing)} of {len(references)} items of {file.name} have no prediction",
            file=answers.file,
            item=missing[0],
            remedy="predict them, or --intersect to score only what both have",
        )
    kept = references if not intersect else {key: references[key] for key in references if key in shared}
    return [filled(item, said.get(key)) for key, item in kept.items()]


def filled(item: Prediction, one: Answer | None) -> Prediction:
    """The item with the prediction, or without one where there is none."""
    if one is None:
        return item
    return replace(
        item, prediction=one.text, truncated=one.truncated, question=item.question or (one.prompt or "").strip()
    )

"""DocVQA, InfographicVQA and ST-VQA (``{data: [...]}``), and ChartQA, whose records have no ids of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.answers import Answers, from_mapping, from_rows, identifier, pair
from holdfast.predictions.official_files import Row, read, read_json
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request, inside


def items(request: Request) -> list[Prediction]:
    """Submissions ``[{questionId, answer}]`` against ``{data: [{questionId, answers}]}``.

    ChartQA records are known by image and question.
    """
    file = inside(request.needed, "*val*.json*", "*test*.json*", "*.json*")
    content = read_json(file)
    records = content.get("data") if isinstance(content, dict) else content
    if not isinstance(records, list):
        raise HoldfastError("the references have no list under 'data'", file=file)
    references: dict[str, Prediction] = {}
    for record in records:
        item = _item(file, record)
        if item.id in references:
            raise HoldfastError("the id comes twice in the references", file=file, item=item.id)
        references[item.id] = item
    return pair(_answers(request.predictions), references, file, intersect=request.intersect)


def _item(file: Path, record: Any) -> Prediction:
    key = _key(record)
    if key is None:
        raise HoldfastError("a reference has neither an id nor image and question", file=file)
    given = next(
        (record[n] for n in ("answers", "valid_answers", "label", "answer") if record.get(n) is not None), None
    )
    if given is None:
        raise HoldfastError("the question has no answers, as test splits have none", file=file, item=key)
    answers = tuple(map(str, given)) if isinstance(given, list) else (str(given),)
    extra = {"split": _half(file)} if _half(file) else {}
    image = str(record.get("image") or record.get("image_local_name") or record.get("imgname") or "")
    return Prediction(
        key,
        None,
        references=answers,
        question=str(record.get("question", record.get("query", ""))),
        image=image,
        extra=extra,
    )


def _half(file: Path) -> str | None:
    return next((name for name in ("human", "augmented") if name in file.name), None)


def _key(record: dict[str, Any]) -> str | None:
    for name in ("questionId", "question_id", "id"):
        if name in record:
            return identifier(record[name])
    image, query = record.get("imgname"), record.get("query")
    return f"{image}: {query}" if image and query else None


def _answers(file: Path) -> Answers:
    content = read(file)
    if isinstance(content, dict):
        return Answers(file, from_mapping(file, content))
    keyed = [
        Row({**row.record, "id": _key(row.record)}, row.line) if "imgname" in row.record else row for row in content
    ]
    return from_rows(file, keyed)

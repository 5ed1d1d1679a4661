"""Plain records, for any metric: one question a record, in JSON Lines, JSON, CSV or TSV, with named columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.answers import ID_KEYS, Answers, from_mapping, from_rows, identifier, pair
from holdfast.predictions.official_files import Row, read
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request

REFERENCE_KEYS = (
    "references", "reference", "answers", "gold", "label", "labels", "target", "gt_answer", "ground_truth",
    "gt", "answer",
)  # fmt: skip
_OWN = frozenset(("prompt", "metadata", "answer_id", "model_id"))


def items(request: Request) -> list[Prediction]:
    """Predictions by id against records with an id and references; or records that hold both.

    A record may also have ``question``, ``image``, ``choices`` and whatever the metric groups by.
    """
    content = read(request.predictions)
    if isinstance(content, dict):
        answers = Answers(request.predictions, from_mapping(request.predictions, content))
    else:
        answers = from_rows(request.predictions, content)
    if request.references is None:
        rows = content if isinstance(content, list) else []
        if not rows or not _holds_references(rows[0].record):
            raise HoldfastError(
                "the predictions hold no references", file=request.predictions, remedy="add --references FILE"
            )
        references = _references(request.predictions, rows)
        return pair(answers, references, request.predictions, intersect=request.intersect)
    file = request.needed
    given = read(file)
    if isinstance(given, dict):
        listed = next((given[n] for n in ("data", "annotations", "questions") if isinstance(given.get(n), list)), None)
        rows = [Row(r) for r in listed] if listed else [Row({"id": k, **_as_record(v)}) for k, v in given.items()]
    else:
        rows = given
    return pair(answers, _references(file, rows), file, intersect=request.intersect)


def holds_references(file: Path) -> bool:
    """Whether a prediction file has the references of its first record beside the prediction."""
    rows = read(file)
    return isinstance(rows, list) and bool(rows) and _holds_references(rows[0].record)


def _holds_references(record: Mapping[str, Any]) -> bool:
    """Whether a prediction record has its references beside it; ``answer`` is one only where the answer has a name."""
    named = any(record.get(key) is not None for key in REFERENCE_KEYS if key != "answer")
    return named or ("answer" in record and any(key in record for key in ("prediction", "text")))


def _as_record(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"references": value}


def _references(file: Path, rows: list[Row]) -> dict[str, Prediction]:
    made: dict[str, Prediction] = {}
    for row in rows:
        item = reference(file, row)
        if item.id in made:
            raise HoldfastError("the id comes twice in the references", file=file, line=row.line, item=item.id)
        made[item.id] = item
    return made


def reference(file: Path, row: Row) -> Prediction:
    """The item a record describes, without its prediction.

    Raises:
        HoldfastError: Where it has no id or no reference.
    """
    record = row.record
    key = identifier(next((record[name] for name in ID_KEYS if name in record), None))
    if key is None:
        raise HoldfastError("the reference record has no id", file=file, line=row.line)
    given = next((record[name] for name in REFERENCE_KEYS if record.get(name) is not None), None)
    references = _listed(given)
    choices = tuple(_listed(record.get("choices", record.get("options"))))
    if not references and record.get("answer_index") is None:
        raise HoldfastError("the record has no reference answer", file=file, line=row.line, item=key)
    image = record.get("image", record.get("image_id"))
    rest = {name: value for name, value in record.items() if name not in _OWN and not isinstance(value, dict)}
    extra = {**rest, **(record["extra"] if isinstance(record.get("extra"), Mapping) else {})}
    made = Prediction(
        key,
        None,
        references=references,
        question=str(record.get("question") or ""),
        image=str(image or ""),
        choices=choices,
        extra=extra,
    )
    return made if choices else replace(made, choices=_letters(record))


def _letters(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Options in columns A, B, C...; at least two, as a lone column A is something else."""
    found = [str(record[name]) for name in "ABCDEFGH" if str(record.get(name) or "").strip()]
    return tuple(found) if len(found) >= 2 else ()


def _listed(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(str(v["answer"]) if isinstance(v, dict) and "answer" in v else str(v) for v in value)
    return (str(value),)

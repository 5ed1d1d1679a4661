"""MMMU: outputs of the official evaluation, a folder of one a subject, and its file of answers for parsed ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import Record, read_json, records
from holdfast.predictions.columns import as_id, as_list, as_text
from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark, FolderLayout, Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.tasks.mmmu.metric import DISCIPLINES
from holdfast.values import JSON

_OUTPUT = "output.json"
_SUBJECTS = frozenset(subject for subjects in DISCIPLINES.values() for subject in subjects)


def fits(look: Look) -> bool:
    """Questions with their type, the gold and the response."""
    return look.has("id question_type answer response")


def read(look: Look, ask: Ask) -> Reading:
    """The questions of one subject."""
    reading = reading_of(look, "MMMU output", (_item(row, look.path) for row in look.rows()))
    if look.path.name == _OUTPUT:
        reading = reading.called(look.path.parent.name, named=reading.named)
    reading.metric = "mmmu"
    return reading


def fits_folder(path: Path) -> bool:
    """A folder of subjects with an output each."""
    return any((path / subject / _OUTPUT).is_file() for subject in _SUBJECTS)


def read_folder(path: Path, ask: Ask) -> Reading:
    """All subjects as one task."""
    files = [file for subject in sorted(_SUBJECTS) if (file := path / subject / _OUTPUT).is_file()]
    rows = [_item(row, file) for file in files for row in records(file)]
    return Reading(str(path), f"MMMU outputs of {len(files)} subjects", {ask.task or "mmmu": rows}, metric="mmmu")


def _item(row: Record, file: Path) -> Prediction:
    values = row.values
    key = as_id(values.get("id"), "id", file, row.line)
    return Prediction(
        key,
        as_text(values.get("response"), "response", file, row.line, key),
        as_list(values.get("answer"), "answer", file, row.line, key),
        choices=as_list(values.get("index2ans"), "index2ans", file, row.line, key),
        extra={"question_type": str(values.get("question_type"))},
        line=row.line,
    )


def _answers(file: Path) -> Iterator[Prediction] | None:
    """``answer_dict_val.json``, gold and type by id."""
    content = read_json(file) if file.suffix == ".json" else None
    if not isinstance(content, dict) or not all(isinstance(row, dict) for row in content.values()):
        return None
    return (_answer(file, key, row) for key, row in content.items())


def _answer(file: Path, key: str, row: JSON) -> Prediction:
    if "ground_truth" not in row:
        raise HoldfastError("the question has no 'ground_truth'", file=file, item=key)
    gold = as_list(row["ground_truth"], "ground_truth", file, None, key)
    return Prediction(key, references=gold, extra={"question_type": str(row.get("question_type"))})


BENCHMARK = Benchmark(
    metrics={"mmmu": "mmmu"},
    layouts=(Layout("MMMU output", fits, read),),
    folders=(FolderLayout("MMMU outputs", fits_folder, read_folder),),
    gold=gold_in("answer_dict_val.json", "*.tsv", items=_answers),
)

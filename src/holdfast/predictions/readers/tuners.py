"""Inference of ms-swift, and of InternVL, Qwen-VL and MiniCPM-V: records without ids, or with the data's own, and the
gold beside."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from holdfast.errors import HoldfastError
from holdfast.files import Record
from holdfast.predictions.columns import Columns, spoken
from holdfast.predictions.layout import Layout, by_row, reading_of, stem
from holdfast.predictions.reading import Ask, Look, Reading

_IDS = ("question_id", "questionId", "data_id", "index", "id")
_INTERNVL = {
    *(*_IDS, "question", "answer", "answer_orig", "annotation", "gt_answers", "image", "image_path", "model_name"),
}
_OF_TRAINING = re.compile(
    r"(?:trainer_log|logging|val_dataset)\.jsonl|(?:predict_results|train_results|all_results|trainer_state|args)\.json"
)
_STAMP = re.compile(r"_\d{12}$")
_NO_EXTRA = {"messages", "logprobs", "history", "system"}


def fits_swift(look: Look) -> bool:
    """The response beside the conversation (or, before version 3, the query) and the label."""
    return look.has("response messages", "labels logprobs") or look.has("query response label history")


def read_swift(look: Look, ask: Ask) -> Reading:
    """Responses; the question is the last of the conversation."""
    columns = {"prediction": "response", "question": "query", "references": "labels", "image": "images"}
    if "label" in look.keys:
        columns["references"] = "label"
    return _numbered(look, "ms-swift results", columns, map(_bare, look.rows()), ask)


def _bare(row: Record) -> Record:
    values = {name: value for name, value in row.values.items() if name not in _NO_EXTRA}
    return Record(row.line, {"query": spoken(row.values.get("messages"), "user"), **values})


def fits_internvl(look: Look) -> bool:
    """Question, answer and gold under the names of these scripts, and nothing else."""
    return look.has("question answer", "annotation gt_answers") and look.keys <= _INTERNVL


def read_internvl(look: Look, ask: Ask) -> Reading:
    """Answers with their gold."""
    gold = "annotation" if "annotation" in look.keys else "gt_answers"
    image = "image_path" if "image_path" in look.keys else "image"
    columns = {"prediction": "answer", "question": "question", "references": gold, "image": image}
    reading = _numbered(look, "InternVL answers", columns, look.rows(), ask)
    return reading.called(_STAMP.sub("", stem(look.path)), named=False)


def _numbered(look: Look, told: str, columns: Mapping[str, str], rows: Iterable[Record], ask: Ask) -> Reading:
    """Rows by their ids, or by their numbers where they have none and no references of their own file are asked for.

    Raises:
        HoldfastError: References are given, and there are no ids to find them by.
    """
    named = next((name for name in _IDS if name in look.keys), None)
    if named is None and ask.references is not None:
        raise HoldfastError(
            "the records have no id, so that references cannot be found for them",
            file=look.path,
            remedy="leave --references out, as the file holds its own, or give every record the id of its question",
        )
    if named is None:
        return by_row(look, told, columns, rows, scale=ask.scale)
    reader = Columns({**columns, "id": named}, file=look.path, scale=ask.scale)
    return reading_of(look, told, reader.predictions(rows))


def passes_over(name: str, beside: Collection[str], judges: bool) -> bool:
    """Logs and totals that LLaMA-Factory and ms-swift leave beside."""
    return _OF_TRAINING.fullmatch(name) is not None


LAYOUTS = (
    Layout("ms-swift results", fits_swift, read_swift, passes_over=passes_over),
    Layout("InternVL answers", fits_internvl, read_internvl),
)

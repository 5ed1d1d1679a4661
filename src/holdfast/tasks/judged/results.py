"""Judged files: MMHAL-Bench evaluations and CHAIR results, which hold their own verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record
from holdfast.predictions.columns import NAMES, as_id, as_key, as_text, was_cut
from holdfast.predictions.layout import Benchmark, Layout, reading_of
from holdfast.predictions.readers.openai import message_of, rates
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.values import JSON

# The 96 questions of MMHAL-Bench cycle through these eight types.
MMHAL_TYPES = (*("attribute", "adversarial", "comparison", "counting", "relation", "environment", "holistic", "other"),)
_TEXTS = ("judgement", "judgment", "review", "evaluation")
_SAID = ("model_answer", "prediction", "answer", "text")
_MARKS = " ".join(("rating", *_TEXTS))


def _rows(look: Look, *names: str) -> list[Record]:
    """The records, or those under one of some names of the object that fills the file."""
    if isinstance(look.content, dict):
        found = next((look.content[name] for name in names if isinstance(look.content.get(name), list)), None)
        if found is not None:
            return [Record(1, row if isinstance(row, dict) else {}) for row in found]
    return list(look.rows())


def fits_mmhal(look: Look) -> bool:
    """Records with a rating or the judge's text, or the list of chat completions that the official script saves."""
    rows = _rows(look, "responses", "data") if isinstance(look.content, dict) else look.head
    return rates(rows) or any(not row.values.keys().isdisjoint(_MARKS.split()) for row in rows[:1])


def read_mmhal(look: Look, ask: Ask) -> Reading:
    """Ratings by item; chat completions come in the order of the benchmark."""
    rows = _rows(look, "responses", "data")
    made = [_mmhal_item(look, row, at) for at, row in enumerate(rows)]
    reading = reading_of(look, "MMHAL-Bench ratings", made)
    reading.metric = "mmhal"
    return reading


def _mmhal_item(look: Look, row: Record, at: int) -> Prediction:
    record = row.values
    key = _key(record) or str(at)
    extra: JSON = {"question_type": record.get("question_type")}
    message = message_of(record)
    if message is not None:  # one without a rating counts as 0
        extra["judgement"] = message.get("content", "")
        extra["judge"] = record.get("model", "not stated")
        extra["question_type"] = extra["question_type"] or MMHAL_TYPES[at % len(MMHAL_TYPES)]
        return Prediction(key, "(judged)", extra=extra, line=row.line)
    verdict = next((record[name] for name in ("rating", "score") if name in record), None)
    text = next((record[name] for name in _TEXTS if name in record), None)
    if verdict is None and text is None:
        problem = "the record has neither a rating nor a judgement"
        raise HoldfastError(problem, file=look.path, line=row.line, item=key)
    extra |= {"judgement": str(text)} if verdict is None else {"rating": verdict}
    if record.get("judge"):
        extra["judge"] = record["judge"]
    said = next((record[name] for name in _SAID if name in record), "(judged)")
    return Prediction(
        key,
        as_text(said, "prediction", look.path, row.line, key),
        (str(record["gt_answer"]),) if record.get("gt_answer") else (),
        question=str(record.get("question", "")),
        image=as_key(record.get("image_id") or record.get("image_src")),
        truncated=was_cut(record),
        extra=extra,
        line=row.line,
    )


def fits_chair(look: Look) -> bool:
    """The ``sentences`` of a CHAIR result file, or records with lists of hallucinated objects."""
    if isinstance(look.content, dict) and isinstance(look.content.get("sentences"), list):
        return True
    return look.has("", "hallucinated mscoco_hallucinated_words")


def read_chair(look: Look, ask: Ask) -> Reading:
    """Captions with the objects that another tool found in them."""
    reading = reading_of(look, "CHAIR results", (_chair_item(look, row) for row in _rows(look, "sentences")))
    reading.metric = "chair"
    return reading


def _chair_item(look: Look, row: Record) -> Prediction:
    record = row.values
    key = as_id(_key(record), "image_id", look.path, row.line)
    wrong = record.get("hallucinated", record.get("mscoco_hallucinated_words"))
    if not isinstance(wrong, list):
        raise HoldfastError("the caption has no list of hallucinated objects", file=look.path, line=row.line, item=key)
    mentioned = record.get("mentioned", record.get("mscoco_generated_words", ()))
    if not isinstance(mentioned, list | tuple):
        raise HoldfastError("the mentioned objects are not a list", file=look.path, line=row.line, item=key)
    caption = record.get("caption", record.get("prediction"))
    return Prediction(
        key,
        as_text(caption, "caption", look.path, row.line, key),
        image=key,
        truncated=was_cut(record),
        extra={"hallucinated": wrong, "mentioned": mentioned},
        line=row.line,
    )


def _key(record: Mapping[str, Any]) -> str | None:
    key = next((record[name] for name in NAMES["id"] if name in record), None)
    return None if key is None else str(key)


BENCHMARK = Benchmark(
    metrics={"chair": "chair", "mmhal": "mmhal"},
    layouts=(Layout("MMHAL-Bench ratings", fits_mmhal, read_mmhal), Layout("CHAIR results", fits_chair, read_chair)),
    gold=None,
    also_for=("chair", "mmhal"),
)

"""Judged files: MMHAL-Bench evaluations and CHAIR results, which hold their own verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.answers import ID_KEYS, identifier, was_cut
from holdfast.predictions.official_files import Row, read
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request

# The 96 questions of MMHAL-Bench cycle through these eight types.
MMHAL_TYPES = (
    "attribute", "adversarial", "comparison", "counting", "relation", "environment", "holistic", "other",
)  # fmt: skip


def mmhal(request: Request) -> list[Prediction]:
    """Records with ``rating`` (or the judge's text under ``judgement``), or the list of chat completions that the
    official script saves, in the order of the benchmark."""
    content = read(request.predictions)
    rows = content if isinstance(content, list) else [Row(r) for r in content.get("responses", content.get("data", ()))]
    if not rows:
        raise HoldfastError("there are no judged answers in the file", file=request.predictions)
    made = [_mmhal_item(request.predictions, row, at) for at, row in enumerate(rows)]
    return _unique(request.predictions, made, rows)


def _mmhal_item(file: Path, row: Row, at: int) -> Prediction:
    record = row.record
    key = _key(record) or str(at)
    extra: dict[str, Any] = {"question_type": record.get("question_type")}
    completion = record.get("choices")
    if isinstance(completion, list) and completion and "message" in completion[0]:
        extra["judgement"] = completion[0]["message"].get("content", "")
        extra["judge"] = record.get("model", "not stated")
        extra["question_type"] = extra["question_type"] or MMHAL_TYPES[at % len(MMHAL_TYPES)]
        return Prediction(key, "(judged)", references=(), extra=extra)
    verdicts = {n: record[n] for n in ("rating", "score") if n in record}
    texts = {n: record[n] for n in ("judgement", "judgment", "review", "evaluation") if n in record}
    if not verdicts and not texts:
        raise HoldfastError("the record has neither a rating nor a judgement", file=file, line=row.line, item=key)
    if verdicts:
        extra["rating"] = next(iter(verdicts.values()))
    else:
        extra["judgement"] = str(next(iter(texts.values())))
    if record.get("judge"):
        extra["judge"] = record["judge"]
    said = next((record[n] for n in ("model_answer", "prediction", "answer", "text") if n in record), "(judged)")
    gold = (str(record["gt_answer"]),) if record.get("gt_answer") else ()
    image = str(record.get("image_id") or record.get("image_src") or "")
    prediction = said if said is None or isinstance(said, str) else str(said)
    return Prediction(
        key,
        prediction,
        references=gold,
        question=str(record.get("question", "")),
        image=image,
        truncated=was_cut(record),
        extra=extra,
    )


def chair(request: Request) -> list[Prediction]:
    """The ``sentences`` of a CHAIR result file, or records with ``hallucinated`` and ``mentioned`` object lists."""
    content = read(request.predictions)
    rows = content if isinstance(content, list) else [Row(record) for record in content.get("sentences", ())]
    if not rows:
        raise HoldfastError("there are no judged captions in the file", file=request.predictions)
    made = []
    for row in rows:
        record = row.record
        key = _key(record)
        wrong = record.get("hallucinated", record.get("mscoco_hallucinated_words"))
        if key is None or not isinstance(wrong, list):
            problem = "the caption has no id or no list of hallucinated objects"
            raise HoldfastError(problem, file=request.predictions, line=row.line, item=key)
        mentioned = record.get("mentioned", record.get("mscoco_generated_words", ()))
        extra = {"hallucinated": wrong, "mentioned": mentioned}
        caption = record.get("caption", record.get("prediction"))
        made.append(Prediction(key, caption, references=(), image=key, truncated=was_cut(record), extra=extra))
    return _unique(request.predictions, made, rows)


def _key(record: dict[str, Any]) -> str | None:
    return identifier(next((record[name] for name in ID_KEYS if name in record), None))


def _unique(file: Path, made: list[Prediction], rows: list[Row]) -> list[Prediction]:
    seen: set[str] = set()
    for item, row in zip(made, rows, strict=True):
        if item.id in seen:
            raise HoldfastError("the id comes twice", file=file, line=row.line, item=item.id)
        seen.add(item.id)
    return made

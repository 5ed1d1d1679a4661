"""VQA v2, OK-VQA and VizWiz: annotation and result files of the VQA tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions.columns import OTHERS, as_id, as_key
from holdfast.predictions.gold import Gold, gold_of, inside
from holdfast.predictions.layout import Benchmark, rows_layout
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction
from holdfast.tasks.preparing.source import Fields, read_records


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``{annotations: [{question_id, answers: [{answer}], ...}]}``, or VizWiz's list, whose ids are the images."""
    file = inside(place, "*annotations*.json*", "*mscoco*.json*", "val.json", "*.json*")
    questions = _questions(file)
    items = gold_of(file, (_item(record, questions) for record in read_records(file, None, "annotations", "data")))
    return Gold(file, items, [_with_confidence(one) for one in said])


def _item(record: Fields, questions: Mapping[str, str]) -> Prediction:
    key = as_id(record.get("question_id", record.get("image")), "question_id", record.file, record.line)
    fields = ("answer_type", "question_type", "answerable")
    return Prediction(
        key,
        references=tuple(record.named(key).answers()),
        question=record.words("question") or questions.get(key, ""),
        image=as_key(record.get("image_id", record.get("image"))),
        extra={name: record.get(name) for name in fields if record.get(name) is not None},
    )


def _questions(file: Path) -> dict[str, str]:
    """Texts from the question file beside the annotations, where the official names find one."""
    name = file.name
    renamed = [name.replace("annotations", "questions")]
    if name.startswith("v2_mscoco_"):
        renamed.append("v2_OpenEnded_" + name.removeprefix("v2_").replace("annotations", "questions"))
    elif name.startswith("mscoco_"):
        renamed.append("OpenEnded_" + name.replace("annotations", "questions"))
    beside = next((file.with_name(n) for n in renamed if n != name and file.with_name(n).is_file()), None)
    if beside is None:
        return {}
    return {one.words("question_id"): one.words("question") for one in read_records(beside, None, "questions")}


def _with_confidence(one: Prediction) -> Prediction:
    """VizWiz results may carry the probability that the question can be answered."""
    value = one.extra.get("answerable")
    if value is None:
        return one
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise HoldfastError(f"answerable is {value!r}, not 0 to 1", line=one.line, item=one.id)
    return replace(one, extra={**one.extra, "predicted_answerable": float(value)})


RESULTS = rows_layout(
    "VQA results", "question_id answer", {"id": "question_id", "prediction": "answer"}, without=OTHERS
)
VIZWIZ = rows_layout(
    "VizWiz results",
    "image answer",
    {"id": "image", "prediction": "answer", "image": "image"},
    without={*OTHERS, "question", "question_id", "id"},
)
BENCHMARK = Benchmark(
    metrics=dict.fromkeys(("okvqa", "vizwiz", "vqav2"), "vqa_accuracy"),
    layouts=(RESULTS, VIZWIZ),
    gold=references,
    also_for=("vizwiz_unanswerability", "vqa_accuracy"),
)

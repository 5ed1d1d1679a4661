"""VQA v2, OK-VQA and VizWiz: annotation and result files of the VQA tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.answers import Answers, identifier, pair, read_answers
from holdfast.predictions.official_files import read_json
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request, inside


def items(request: Request) -> list[Prediction]:
    """Results ``[{question_id, answer}]`` (VizWiz: ``[{image, answer, answerable}]``; LLaVA: JSON Lines with ``text``)
    against ``{annotations: [{question_id, answers: [{answer}], ...}]}`` or VizWiz's list."""
    file = inside(request.needed, "*annotations*.json*", "*mscoco*.json*", "val.json", "*.json*")
    references = read_annotations(file)
    answers = read_answers(request.predictions)
    paired = pair(answers, references, file, intersect=request.intersect)
    return [_with_confidence(item, answers) for item in paired]


def read_annotations(file: Path) -> dict[str, Prediction]:
    """Items without predictions, by question id (VizWiz: by image name)."""
    content = read_json(file)
    records = content.get("annotations", content.get("data")) if isinstance(content, dict) else content
    if not isinstance(records, list):
        raise HoldfastError("the references have no list of annotations", file=file)
    questions = _questions(file)
    made: dict[str, Prediction] = {}
    for record in records:
        one = _item(file, record, questions)
        if one.id in made:
            raise HoldfastError("the id comes twice in the references", file=file, item=one.id)
        made[one.id] = one
    return made


def _item(file: Path, record: Mapping[str, Any], questions: Mapping[str, str]) -> Prediction:
    key = identifier(record.get("question_id", record.get("image")))
    if key is None:
        raise HoldfastError("an annotation has neither question_id nor image", file=file)
    given = record.get("answers")
    if not isinstance(given, list) or not given:
        raise HoldfastError("the annotation has no answers, as test splits have none", file=file, item=key)
    answers = tuple(str(one["answer"]) if isinstance(one, dict) and "answer" in one else str(one) for one in given)
    fields = ("answer_type", "question_type", "answerable")
    extra = {name: record[name] for name in fields if record.get(name) is not None}
    image = identifier(record.get("image_id", record.get("image"))) or ""
    question = str(record.get("question") or questions.get(key, ""))
    return Prediction(key, references=answers, question=question, image=image, extra=extra)


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
    content = read_json(beside)
    records = content.get("questions", []) if isinstance(content, dict) else content
    return {str(r.get("question_id")): str(r.get("question", "")) for r in records if isinstance(r, dict)}


def _with_confidence(item: Prediction, answers: Answers) -> Prediction:
    """VizWiz results may carry the probability that the question can be answered."""
    said = answers.by_id.get(item.id)
    value = said.row.get("answerable") if said is not None else None
    if value is None:
        return item
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        line = said.line if said is not None else None
        raise HoldfastError(f"answerable is {value!r}, not 0 to 1", file=answers.file, line=line, item=item.id)
    return replace(item, extra={**item.extra, "predicted_answerable": float(value)})

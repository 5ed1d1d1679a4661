"""IconQA: the folder of problems or ``problems.json``, and result files of the official scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.answers import TEXT_KEYS, Answer, Answers, from_mapping, from_rows, pair
from holdfast.predictions.official_files import read, read_json
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request
from holdfast.tasks.iconqa.metric import SUBTASKS

SUBTASK_OF = {"iconqa_txt": "choose_txt", "iconqa_img": "choose_img", "iconqa_blank": "fill_in_blank"}


def items(request: Request) -> list[Prediction]:
    """Results by problem id (under ``results``, or under the names of the sub-tasks) against the problems.

    References are ``problems.json`` (with ``pid_splits.json`` and ``pid2skills.json`` beside it), or a folder of
    ``<sub-task>/<id>/data.json`` or ``<id>/data.json``. Only sub-tasks that were answered are scored; the task names
    ``iconqa_txt``, ``iconqa_img`` and ``iconqa_blank`` keep one.
    """
    wanted = SUBTASK_OF.get(request.task)
    answers = _answers(request.predictions, wanted)
    known = _problems(request.needed, set(answers.by_id))
    present = {wanted} if wanted else {known[key].extra["subtask"] for key in answers.by_id if key in known}
    references = {key: item for key, item in known.items() if not present or item.extra["subtask"] in present}
    paired = pair(answers, references, request.needed, intersect=request.intersect)
    return [_indexed(item, answers.by_id.get(item.id)) for item in paired]


def _indexed(item: Prediction, said: Answer | None) -> Prediction:
    """Official results state the index of a choice, which must not be mistaken for the text of another one."""
    if said is None or not item.choices or said.text is None:
        return item
    official = not said.row or any(type(said.row.get(key)) is int for key in TEXT_KEYS)
    if not official or not said.text.isdecimal():
        return item
    return replace(item, extra={**item.extra, "predicted_index": int(said.text)})


def _answers(file: Path, wanted: str | None) -> Answers:
    content = read(file)
    if isinstance(content, list):
        return from_rows(file, content)
    named = [name for name in SUBTASKS if isinstance(content.get(name), dict)]
    if not named:
        return Answers(file, from_mapping(file, content))
    if wanted and wanted not in named:
        raise HoldfastError(f"the file has no predictions for {wanted}", file=file)
    by_id: dict[str, Answer] = {}
    for name in [wanted] if wanted else named:
        for key, one in from_mapping(file, content[name]).items():
            if key in by_id:
                raise HoldfastError("the id comes twice", file=file, item=key)
            by_id[key] = one
    return Answers(file, by_id)


def _problems(place: Path, answered: set[str]) -> dict[str, Prediction]:
    file = place if place.is_file() else place / "problems.json"
    if file.is_file():
        problems = read_json(file)
        if not isinstance(problems, dict):
            raise HoldfastError("the problems are not a JSON object by id", file=file)
        skills = _beside(file, "pid2skills.json")
        made = {key: _item(file, key, record, skills.get(key, ())) for key, record in problems.items()}
        splits = {name: set(map(str, ids)) for name, ids in _beside(file, "pid_splits.json").items()}
        fitting = [ids for _, ids in sorted(splits.items()) if ids & answered]
        best = max(fitting, key=lambda ids: (len(ids & answered), -len(ids)), default=None)
        return made if best is None else {key: made[key] for key in made if key in best}
    skills = _beside(place / "x", "pid2skills.json")
    files = sorted({path for depth in ("*", "*/*", "*/*/*") for path in place.glob(f"{depth}/data.json")})
    if not files:
        raise HoldfastError("the folder has neither problems.json nor <id>/data.json", file=place)
    return {
        path.parent.name: _item(path, path.parent.name, read_json(path), skills.get(path.parent.name, ()))
        for path in files
    }


def _beside(file: Path, name: str) -> dict[str, Any]:
    path = file.with_name(name)
    content = read_json(path) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def _item(file: Path, key: str, record: Any, skills: Any) -> Prediction:
    if not isinstance(record, Mapping) or "answer" not in record:
        raise HoldfastError("the problem has no answer", file=file, item=key)
    subtask = str(record.get("ques_type") or "")
    choices = tuple(map(str, record.get("choices") or ()))
    subtask = subtask or ("choose_txt" if choices else "fill_in_blank")
    extra: dict[str, Any] = {"subtask": subtask, "grade": record.get("grade")}
    if skills:
        extra["skills"] = list(skills)
    if choices:
        extra["answer_index"] = record["answer"]
    folder = file.parent if file.name == "data.json" else None
    image = str(folder / "image.png") if folder is not None else f"{subtask}/{key}"
    return Prediction(
        key,
        None,
        references=(str(record["answer"]),),
        question=str(record.get("question", "")),
        image=image,
        choices=choices,
        extra=extra,
    )

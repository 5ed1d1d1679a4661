"""IconQA: the folder of problems or ``problems.json``, and result files of the official scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record
from holdfast.predictions.columns import Columns
from holdfast.predictions.gold import Gold
from holdfast.predictions.layout import Benchmark, Layout
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.tasks.iconqa.download import beside, draft, problem
from holdfast.tasks.iconqa.metric import SUBTASKS
from holdfast.tasks.preparing.source import Fields, read_objects

SUBTASK_OF = {"iconqa_txt": "choose_txt", "iconqa_img": "choose_img", "iconqa_blank": "fill_in_blank"}
_INDEX = "predicted_index"


def fits(look: Look) -> bool:
    """One JSON object with an answer a problem under the names of the sub-tasks."""
    content = look.content
    return (
        isinstance(content, dict)
        and bool(content)
        and content.keys() <= set(SUBTASKS)
        and all(isinstance(value, dict) for value in content.values())
    )


def read(look: Look, ask: Ask) -> Reading:
    """Answers by sub-task; ``iconqa_txt``, ``iconqa_img`` and ``iconqa_blank`` keep one, ``iconqa`` all."""
    content: Mapping[str, Any] = look.content
    wanted = SUBTASK_OF.get(ask.task or "")
    if wanted and wanted not in content:
        raise HoldfastError(f"the file has no predictions for {wanted}", file=look.path)
    tasks: dict[str, list[Prediction]] = {}
    for subtask in [wanted] if wanted else content:
        name = f"iconqa_{subtask}" if ask.task is None else ask.task
        tasks.setdefault(name, []).extend(_indexed(look, _by_id(content[subtask])))
    return Reading(str(look.path), f"IconQA results, {', '.join(content)}", tasks)


def fits_numbers(look: Look) -> bool:
    """Results by problem id, or records, whose answers are numbers: official results state the index of a choice."""
    values = look.content.get("results", look.content) if isinstance(look.content, dict) else look.first
    return isinstance(values, dict) and any(type(value) is int for value in values.values())


def read_numbers(look: Look, ask: Ask) -> Reading:
    """Indices of choices, which must not be mistaken for the text of another one."""
    if isinstance(look.content, dict):
        rows = _by_id(look.content)
    else:
        key = next((name for name in ("question_id", "id", "pid") if name in look.keys), "id")
        said = next((name for name in ("prediction", "answer", "text", "pred") if name in look.keys), "prediction")
        rows = [Record(r.line, {"id": r.values.get(key), "said": r.values.get(said)}) for r in look.rows()]
    return Reading(str(look.path), "IconQA results", {str(ask.task): _indexed(look, rows)})


def _by_id(answers: Mapping[str, Any]) -> list[Record]:
    """Answers by problem, which may stand under ``results``."""
    return [Record(1, {"id": key, "said": said}) for key, said in answers.get("results", answers).items()]


def _indexed(look: Look, rows: Iterable[Record]) -> list[Prediction]:
    columns = Columns({"id": "id", "prediction": "said"}, file=look.path)
    return [
        replace(columns.prediction(row), extra={_INDEX: row.values["said"]})
        if type(row.values["said"]) is int
        else columns.prediction(row)
        for row in rows
    ]


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``problems.json`` (with ``pid_splits.json`` and ``pid2skills.json`` beside it), or a folder of
    ``<sub-task>/<id>/data.json`` or ``<id>/data.json``. Only sub-tasks that were answered are scored."""
    wanted = SUBTASK_OF.get(ask.task or "")
    answered = {one.id for one in said}
    known = _problems(place, answered)
    present = {wanted} if wanted else {known[key].extra["subtask"] for key in answered if key in known}
    items = {key: item for key, item in known.items() if not present or item.extra["subtask"] in present}
    return Gold(place, items)


def _problems(place: Path, answered: set[str]) -> dict[str, Prediction]:
    file = place if place.is_file() else place / "problems.json"
    skills = beside(file.with_name("pid2skills.json"))
    if file.is_file():
        made = {key: _item(record, skills) for key, record in read_objects(file).items()}
        splits = {name: set(map(str, ids)) for name, ids in beside(file.with_name("pid_splits.json")).items()}
        fitting = [ids for _, ids in sorted(splits.items()) if ids & answered]
        best = max(fitting, key=lambda ids: (len(ids & answered), -len(ids)), default=None)
        return made if best is None else {key: made[key] for key in made if key in best}
    files = sorted({path for depth in ("*", "*/*", "*/*/*") for path in place.glob(f"{depth}/data.json")})
    if not files:
        raise HoldfastError("the folder has neither problems.json nor <id>/data.json", file=place)
    return {path.parent.name: _item(problem(path), skills) for path in files}


def _item(record: Fields, skills: Mapping[str, Any]) -> Prediction:
    subtask = record.words("ques_type") or ("choose_txt" if record.get("choices") else "fill_in_blank")
    alone = record.file.name == "data.json"
    image = str(record.file.with_name("image.png")) if alone else f"{subtask}/{record.item}"
    return draft(record, subtask, skills.get(record.item)).reference(image=image)


BENCHMARK = Benchmark(
    metrics=dict.fromkeys(("iconqa", "iconqa_blank", "iconqa_img", "iconqa_txt"), "iconqa"),
    layouts=(
        Layout("IconQA results", fits, read),
        Layout("IconQA results by number", fits_numbers, read_numbers, only_named=True),
    ),
    gold=references,
)

"""Whole-file JSON results: ScienceQA (LLaVA and the official script), IconQA, and plain maps of id to answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.file import identifier
from holdfast.predictions.readers.reading import Reading
from holdfast.predictions.record import Prediction

ICONQA_TASKS = ("choose_txt", "choose_img", "fill_in_blank")
LETTERS = "ABCDEFGHIJ"


def read_results(content: dict[str, Any], path: Path) -> Reading | None:
    """Read a JSON object that holds the results of a whole task.

    Args:
        content: The parsed file.
        path: For messages.

    Returns:
        The reading, or ``None`` when the object is of no known form.

    Raises:
        HoldfastError: A known form with broken content.
    """
    name = str(path)
    if isinstance(content.get("correct"), list) and isinstance(content.get("incorrect"), list):
        rows = _judged(content, path)
        return Reading(name, "ScienceQA output of LLaVA (correct and incorrect lists)", {"scienceqa": rows})
    if isinstance(content.get("results"), dict):
        outputs = content.get("outputs")
        rows = _indices(content["results"], outputs if isinstance(outputs, dict) else {}, path)
        return Reading(name, "ScienceQA result file", {"scienceqa": rows})
    subsets = {task: content[task] for task in ICONQA_TASKS if isinstance(content.get(task), dict)}
    if subsets and len(subsets) == len(content):
        tasks = {f"iconqa_{task}": _answers(answers, path) for task, answers in subsets.items()}
        return Reading(name, f"IconQA results, {', '.join(subsets)}", tasks)
    if content and all(isinstance(value, (str, int)) for value in content.values()):
        return Reading(name, "map of ids to answers", {path.stem: _answers(content, path)}, named=False)
    return None


def _judged(content: dict[str, Any], path: Path) -> list[Prediction]:
    rows: list[Prediction] = []
    for part, score in (("correct", 1.0), ("incorrect", 0.0)):
        for entry in content[part]:
            if not isinstance(entry, dict) or "question_id" not in entry:
                raise HoldfastError(f"an entry of '{part}' has no question_id", file=path)
            truth = entry.get("ground_truth")
            rows.append(
                Prediction(
                    id=identifier(entry["question_id"], path, len(rows) + 1),
                    prediction=str(entry.get("pred", entry.get("parsed_ans", ""))),
                    score=score,
                    question=str(entry.get("question", "")),
                    references=() if truth is None else (str(truth),),
                    status="unparsed" if entry.get("parsed_ans") == "FAILED" else None,
                    metric="scienceqa",
                )
            )
    return _unique(rows, path)


def _indices(results: dict[str, Any], outputs: dict[str, Any], path: Path) -> list[Prediction]:
    rows = []
    for key, choice in results.items():
        if isinstance(choice, bool) or not isinstance(choice, int) or choice >= len(LETTERS):
            raise HoldfastError(f"the result is {choice!r}, not the number of an option", file=path, item=key)
        text = outputs.get(key)
        parsed = LETTERS[choice] if choice >= 0 else ""
        rows.append(
            Prediction(
                id=key,
                prediction=parsed if text is None else str(text),
                status="unparsed" if choice < 0 else None,
                metric=None,
            )
        )
    return rows


def _answers(answers: dict[str, Any], path: Path) -> list[Prediction]:
    if not answers:
        raise HoldfastError("the file holds no answers", file=path)
    return [Prediction(id=key, prediction=str(value)) for key, value in answers.items()]


def _unique(rows: list[Prediction], path: Path) -> list[Prediction]:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise HoldfastError("the id stands twice in the file", file=path, item=row.id)
        seen.add(row.id)
    return rows

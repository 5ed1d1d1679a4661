"""ScienceQA: problems or LLaVA conversations, and answers as LLaVA or the official scripts write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.metrics.text.options import letter
from holdfast.predictions.answers import Answer, Answers, from_rows, pair
from holdfast.predictions.official_files import Row, as_text, read, read_json
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request, inside

_SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
_OPTION_LINE = re.compile(r"^([A-E])\. ?(.*)$")
_OPTION_INLINE = re.compile(r"\(([A-E])\)\s*(.*?)(?=\s*\([A-E]\)|\n|$)")
_GOLD = re.compile(r"^([A-E])$|[Tt]he answer is ([A-E])")


def items(request: Request) -> list[Prediction]:
    """Answers against ``problems.json`` (with ``pid_splits.json`` beside it) or ``llava_test_CQM-A.json``.

    An unanswered question is wrong, as in LLaVA's script. Whether a question has an image is read from the prompt that
    was answered, as there, and from the references where the file has no prompts.
    """
    file = inside(request.needed, "problems.json*", "*CQM*.json*", "problems*.json*", "*.json*")
    answers = _answers(request.predictions)
    references, whole_split = _references(file, answers.by_id.keys())
    paired = pair(answers, references, file, intersect=request.intersect, missing_is_wrong=whole_split)
    prompted = any(one.prompt is not None for one in answers.by_id.values())
    return [_annotated(item, answers.by_id.get(item.id), prompted) for item in paired]


def _annotated(item: Prediction, said: Answer | None, prompted: bool) -> Prediction:
    extra = dict(item.extra)
    if prompted:
        extra["image"] = said is not None and "<image>" in (said.prompt or "")
    if said is not None and "recorded" in said.row:
        extra["recorded"] = said.row["recorded"]
    return replace(item, extra=extra)


def _answers(file: Path) -> Answers:
    content = read(file)
    if isinstance(content, list) and len(content) == 1 and not content[0].record.keys() & {"question_id", "id"}:
        # One object on one line in a file called .jsonl: a result file all the same.
        content = content[0].record
    if isinstance(content, list):
        return from_rows(file, content)
    if isinstance(content.get("correct"), list) and isinstance(content.get("incorrect"), list):
        return _analysis(file, content)
    recorded = content.get("results")
    if not isinstance(recorded, dict):
        raise HoldfastError("this is no ScienceQA answer or result file", file=file)
    outputs = content.get("outputs")
    texts = outputs if isinstance(outputs, dict) else {key: _as_letter(value) for key, value in recorded.items()}
    by_id = {}
    for key in texts.keys() | recorded.keys():
        row = {"recorded": recorded.get(key, -1)}
        by_id[key] = Answer(key, as_text(texts.get(key), file, None, key), row=row)
    return Answers(file, dict(sorted(by_id.items())))


def _as_letter(index: object) -> str:
    known = isinstance(index, int) and not isinstance(index, bool) and 0 <= index < 26
    return letter(index) if known and isinstance(index, int) else "FAILED"


def _analysis(file: Path, content: Mapping[str, Any]) -> Answers:
    """LLaVA's ``*_output.jsonl``: one object with the answers sorted into correct and incorrect."""
    rows = [Row({**record, "prompt": record.get("question")}) for record in content["correct"] + content["incorrect"]]
    return from_rows(file, rows, ids=("question_id",), texts=("pred",))


def _references(file: Path, answered: Any) -> tuple[dict[str, Prediction], bool]:
    """Items by id, and whether they are one split, so that one without an answer was left unanswered."""
    content = read_json(file)
    if isinstance(content, list):
        return {str(record.get("id")): _from_conversation(file, record) for record in content}, True
    problems = {key: _from_problem(file, key, record) for key, record in content.items()}
    return _split(file, problems, set(answered))


def _split(file: Path, problems: dict[str, Prediction], answered: set[str]) -> tuple[dict[str, Prediction], bool]:
    """The problems of the split whose ids fit the answers best; of all problems where no split is known."""
    beside = file.with_name("pid_splits.json")
    splits: dict[str, set[str]] = {}
    if beside.is_file():
        splits = {name: set(map(str, ids)) for name, ids in read_json(beside).items()}
    else:
        for key, item in problems.items():
            if item.extra.get("split"):
                splits.setdefault(str(item.extra["split"]), set()).add(key)
    fits = {name: ids & problems.keys() for name, ids in splits.items()}
    best = max(fits, key=lambda n: (_overlap(fits[n], answered), n == "test", n), default=None)
    if best is None or not fits[best] & answered:
        return problems, False
    return {key: problems[key] for key in problems if key in fits[best]}, True


def _overlap(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def _from_problem(file: Path, key: str, record: Any) -> Prediction:
    if not isinstance(record, dict) or "choices" not in record or "answer" not in record:
        raise HoldfastError("the problem has no choices or no answer", file=file, item=key)
    image, hint = bool(record.get("image")), bool(str(record.get("hint") or "").strip())
    grade = "".join(filter(str.isdigit, str(record.get("grade", ""))))
    extra: dict[str, Any] = {
        "image": image,
        "answer_index": record["answer"],
        "context": [c for c, there in (("TXT", hint), ("IMG", image), ("NO", not hint and not image)) if there],
    }
    if record.get("subject") in _SUBJECTS:
        extra["subject"] = _SUBJECTS[record["subject"]]
    if grade:
        extra["grade"] = "G1-6" if int(grade) <= 6 else "G7-12"
    if record.get("split"):
        extra["split"] = record["split"]
    return Prediction(
        key,
        references=(letter(record["answer"]),),
        question=str(record.get("question", "")),
        image=f"{key}/image.png" if image else "",
        choices=tuple(map(str, record["choices"])),
        extra=extra,
    )


def _from_conversation(file: Path, record: Any) -> Prediction:
    key = str(record.get("id"))
    turns = {turn.get("from"): str(turn.get("value", "")) for turn in record.get("conversations", ())}
    prompt = turns.get("human", "")
    found = _GOLD.search(turns.get("gpt", "").strip())
    if found is None:
        raise HoldfastError("the conversation states no gold letter", file=file, item=key)
    image = "image" in record or "<image>" in prompt
    hint = "Context: " in prompt and "Context: N/A" not in prompt
    context = [c for c, there in (("TXT", hint), ("IMG", image), ("NO", not hint and not image)) if there]
    gold = found.group(1) or found.group(2)
    extra = {"image": image, "context": context}
    return Prediction(
        key,
        None,
        references=(gold,),
        question=prompt,
        image=str(record.get("image", "")),
        choices=_choices(prompt),
        extra=extra,
    )


def _choices(prompt: str) -> tuple[str, ...]:
    """Options listed line by line after the question, or inline as ``(A) ... (B) ...``."""
    options: list[str] = []
    for line in prompt.split("\n"):
        found = _OPTION_LINE.match(line)
        if found is not None and found.group(1) == "A":
            options = [found.group(2)]
        elif found is not None and options and found.group(1) == letter(len(options)):
            options.append(found.group(2))
        elif options:
            # An option may have lines of its own, such as the close of a letter.
            options[-1] += "\n" + line
    if len(options) >= 2:
        return tuple(options)
    tail = prompt[prompt.rfind("(A)") :] if "(A)" in prompt else ""
    return tuple(text.strip() for _, text in _OPTION_INLINE.findall(tail))

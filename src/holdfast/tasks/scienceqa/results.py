"""ScienceQA: problems or LLaVA conversations, and answers as LLaVA or the official scripts write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.metrics.text.options import letter
from holdfast.predictions.columns import as_id, as_text
from holdfast.predictions.gold import Gold, gold_of, inside
from holdfast.predictions.layout import Benchmark, Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.tasks.preparing.source import Fields, read_objects, read_records
from holdfast.tasks.scienceqa.download import context, draft

_OPTION_LINE = re.compile(r"^([A-E])\. ?(.*)$")
_OPTION_INLINE = re.compile(r"\(([A-E])\)\s*(.*?)(?=\s*\([A-E]\)|\n|$)")
_GOLD = re.compile(r"^([A-E])$|[Tt]he answer is ([A-E])")


def fits_result(look: Look) -> bool:
    """The official script's object: ``results`` maps ids to the number of an option, -1 where none was read."""
    results = look.content.get("results") if isinstance(look.content, dict) else None
    return (
        isinstance(results, dict)
        and bool(results)
        and all(type(value) is int for value in results.values())
        and not look.keys.isdisjoint(("outputs", "acc", "correct", "count"))
    )


def read_result(look: Look, ask: Ask) -> Reading:
    """Texts by id, and what was recorded of each; where no text stands, the recorded option is the answer."""
    return reading_of(look, "ScienceQA result file", _recorded(look)).called("scienceqa")


def _recorded(look: Look) -> Iterator[Prediction]:
    results: Mapping[str, Any] = look.content["results"]
    outputs = look.content.get("outputs")
    texts: Mapping[str, Any] = outputs if isinstance(outputs, dict) else {}
    for key in sorted(results.keys() | texts.keys()):
        index = results.get(key, -1)
        if type(index) is not int or index >= len(ascii_uppercase):
            raise HoldfastError(f"the result is {index!r}, not the number of an option", file=look.path, item=key)
        text = as_text(texts.get(key), "outputs", look.path, None, key)
        if text is None or not text.strip():
            text = letter(index) if index >= 0 else text or ("" if key in results else None)
        yield Prediction(key, text, extra={"recorded": index}, status="unparsed" if index < 0 else None)


def fits_analysis(look: Look) -> bool:
    """LLaVA's ``*_output.jsonl``: one object with the answers sorted into correct and incorrect."""
    content = look.content
    return isinstance(content, dict) and all(isinstance(content.get(part), list) for part in ("correct", "incorrect"))


def read_analysis(look: Look, ask: Ask) -> Reading:
    """Answers with LLaVA's verdicts."""
    told = "ScienceQA output of LLaVA (correct and incorrect lists)"
    return reading_of(look, told, _sorted(look)).called("scienceqa")


def _sorted(look: Look) -> Iterator[Prediction]:
    for part, score in (("correct", 1.0), ("incorrect", 0.0)):
        for entry in look.content[part]:
            if not isinstance(entry, dict) or "question_id" not in entry:
                raise HoldfastError(f"an entry of '{part}' has no question_id", file=look.path)
            key = as_id(entry["question_id"], "question_id", look.path, None)
            truth = entry.get("ground_truth")
            yield Prediction(
                key,
                as_text(entry.get("pred", entry.get("parsed_ans", "")), "pred", look.path, None, key),
                () if truth is None else (str(truth),),
                question=str(entry.get("question", "")),
                score=score,
                metric="scienceqa",
                status="unparsed" if entry.get("parsed_ans") == "FAILED" else None,
            )


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``problems.json`` (with ``pid_splits.json`` beside it) or ``llava_test_CQM-A.json``.

    An unanswered question is wrong, as in LLaVA's script. Whether a question has an image is read from the prompt that
    was answered, as there, and from the references where the file has no prompts.
    """
    file = inside(place, "problems.json*", "*CQM*.json*", "problems*.json*", "*.json*")
    items, whole_split = _items(file, {one.id for one in said})
    if any(one.question for one in said):
        prompts = {one.id: one.question for one in said}
        items = {
            key: replace(item, extra={**item.extra, "image": "<image>" in prompts.get(key, "")})
            for key, item in items.items()
        }
    return Gold(file, items, missing_is_wrong=whole_split)


def _items(file: Path, answered: Set[str]) -> tuple[dict[str, Prediction], bool]:
    """Items by id, and whether they are one split, so that one without an answer was left unanswered."""
    if isinstance(read_json(file), list):
        return gold_of(file, map(_from_conversation, read_records(file, None, named="id"))), True
    problems = {key: _from_problem(record) for key, record in read_objects(file).items()}
    return _split(file, problems, answered)


def _split(file: Path, problems: dict[str, Prediction], answered: Set[str]) -> tuple[dict[str, Prediction], bool]:
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


def _overlap(a: set[str], b: Set[str]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def _from_problem(record: Fields) -> Prediction:
    item = draft(record).reference()
    split = {"split": record.get("split")} if record.get("split") else {}
    return replace(item, extra={**item.extra, "image": bool(item.image), **split})


def _from_conversation(record: Fields) -> Prediction:
    turns = {turn.get("from"): str(turn.get("value", "")) for turn in record.get("conversations", ())}
    prompt = turns.get("human", "")
    found = _GOLD.search(turns.get("gpt", "").strip())
    if found is None:
        raise record.fault("the conversation states no gold letter")
    pictured = "image" in record.values or "<image>" in prompt
    hint = "Context: " in prompt and "Context: N/A" not in prompt
    return Prediction(
        record.item,
        references=(found.group(1) or found.group(2),),
        question=prompt,
        image=record.words("image"),
        choices=_choices(prompt),
        extra={"image": pictured, "context": context(hint, pictured)},
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


BENCHMARK = Benchmark(
    metrics={"scienceqa": "scienceqa"},
    layouts=(
        Layout("ScienceQA result file", fits_result, read_result),
        Layout("ScienceQA output of LLaVA", fits_analysis, read_analysis),
    ),
    gold=references,
)

"""Read the user's own examples: simple JSONL and LLaVA ``conversations`` JSON, told apart by their content.

Simple form, one object a line::

    {"image": "cats/1.png", "question": "How many cats?", "answer": "two", "id": "q1"}

``image`` may be a list (several images) and ``answer`` too (several right answers; the first is trained on).
``images`` and ``answers`` are taken as synonyms, ``choices`` is kept for metrics that need them, and every
other field is carried along. LLaVA form, a JSON list or JSONL::

    {"id": "1", "image": "1.png", "conversations": [{"from": "human", "value": "<image>\\nWhat?"},
                                                     {"from": "gpt", "value": "A cat"}]}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from holdfast.data.examples import IMAGE_MARK, Example, ImageSource, Turn, image_key
from holdfast.data.images import open_image, resolve_inside
from holdfast.errors import HoldfastError
from holdfast.files import form_of, scan

_OWN_FIELDS = {"id", "image", "images", "question", "answer", "answers", "choices", "conversations"}


@dataclass(frozen=True, slots=True)
class ExamplesRead:
    """What a file gave: its good examples and, in file order, everything that is wrong with it."""

    examples: tuple[Example, ...]
    problems: tuple[HoldfastError, ...]


def read_examples(
    file: Path, *, root: Path | None = None, open_images: bool = True, limit: int | None = None
) -> ExamplesRead:
    """Read every example of ``file`` and collect every problem.

    Args:
        file: JSONL (simple or LLaVA form) or a JSON list of LLaVA items.
        root: Folder that image paths are relative to and may not leave; default: the file's own folder.
        open_images: Decode each picture once, so that damaged files are found before training.
        limit: Stop after this many records.

    Raises:
        HoldfastError: The file itself is missing, unreadable or holds no record at all.
    """
    if root is None:
        root = file.parent
    elif not root.is_dir():
        raise HoldfastError(f"the data root {root} is not a folder", remedy="set root to the folder of the images")
    examples: list[Example] = []
    problems: list[HoldfastError] = []
    first_seen: dict[str, int] = {}
    resolve = lru_cache(maxsize=None)(partial(resolve_inside, root))  # questions share images
    known_images: dict[Path, HoldfastError | None] = {}
    count = 0
    is_list = form_of(file) == "json"
    for position, (line, record) in enumerate(scan(file), start=1):
        if limit is not None and count >= limit:
            break
        count += 1
        item: str | None = None
        try:
            if isinstance(record, HoldfastError):
                raise record
            item = _identifier(record, f"item-{position}" if is_list else f"line-{line}")
            if item in first_seen:
                raise HoldfastError(
                    f"id '{item}' stands on line {first_seen[item]} already",
                    remedy="give every item its own id",
                )
            first_seen[item] = line
            example = _example(record, item, resolve)
            if open_images:
                _check_images(example, known_images)
            examples.append(example)
        except HoldfastError as error:
            problems.append(HoldfastError(error.problem, file=file, line=line, item=item, remedy=error.remedy))
    if not count:
        raise HoldfastError("the data set is empty", file=file, remedy="add at least one example")
    return ExamplesRead(tuple(examples), tuple(problems))


def _identifier(record: dict[str, Any], name: str) -> str:
    value = record.get("id", record.get("question_id"))
    if value is None:
        return name
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
        raise HoldfastError("field 'id' is neither text nor a whole number", remedy="give the item a plain id")
    return str(value)


def _example(record: dict[str, Any], item: str, resolve: Callable[[str], Path]) -> Example:
    turns = _conversation(record) if "conversations" in record else (_single_turn(record),)
    images = tuple(resolve(name) for name in _image_names(record))
    marks = sum(turn.question.count(IMAGE_MARK) for turn in turns)
    if marks and marks != len(images):
        raise HoldfastError(
            f"{marks} {IMAGE_MARK} marks stand in the text but {len(images)} images are given",
            remedy="use one mark per image, or none",
        )
    choices = record.get("choices", ())
    if not isinstance(choices, list | tuple) or not all(isinstance(choice, str) for choice in choices):
        raise HoldfastError("field 'choices' is not a list of texts")
    sources: tuple[ImageSource, ...] = images
    return Example(
        id=item,
        images=sources,
        turns=turns,
        image_key=image_key(sources),
        choices=tuple(choices),
        extra={key: value for key, value in record.items() if key not in _OWN_FIELDS},
    )


def _single_turn(record: dict[str, Any]) -> Turn:
    question = record.get("question")
    if question is None:
        raise HoldfastError("field 'question' is missing", remedy="add it, or 'conversations' in LLaVA's form")
    if not isinstance(question, str) or not question.strip():
        raise HoldfastError("field 'question' is empty or not text")
    answer = record.get("answer", record.get("answers"))
    if answer is None:
        raise HoldfastError("field 'answer' is missing", remedy="add the answer, or a list of right answers")
    answers = answer if isinstance(answer, list) else [answer]
    if not answers:
        raise HoldfastError("field 'answer' is an empty list", remedy="add at least one answer")
    return Turn(question, tuple(_answer_text(value) for value in answers))


def _answer_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise HoldfastError("field 'answer' is not text", remedy="write the answer as text")
    text = str(value).strip()
    if not text:
        raise HoldfastError("field 'answer' is empty", remedy="write the answer, or remove the item")
    if IMAGE_MARK in text:
        raise HoldfastError(f"the answer holds {IMAGE_MARK}", remedy="images stand in questions only")
    return text


def _conversation(record: dict[str, Any]) -> tuple[Turn, ...]:
    conversation = record["conversations"]
    if not isinstance(conversation, list) or not conversation:
        raise HoldfastError("field 'conversations' is not a list of turns")
    roles = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
    turns: list[Turn] = []
    question: str | None = None
    for position, message in enumerate(conversation, start=1):
        if not isinstance(message, dict) or not isinstance(message.get("value"), str):
            raise HoldfastError(f"turn {position} of 'conversations' has no text 'value'")
        role = roles.get(str(message.get("from")))
        if role is None:
            raise HoldfastError(
                f"turn {position} is from '{message.get('from')}'",
                remedy="known: human, gpt, user, assistant",
            )
        if role == "user":
            if question is not None:
                raise HoldfastError(f"turn {position} is a second question in a row")
            question = message["value"]
        else:
            if question is None:
                raise HoldfastError(f"turn {position} is an answer without a question")
            turns.append(Turn(question, (_answer_text(message["value"]),)))
            question = None
    if question is not None or not turns:
        raise HoldfastError("the conversation does not end with an answer", remedy="add the last answer")
    return tuple(turns)


def _image_names(record: dict[str, Any]) -> list[str]:
    value = record.get("image", record.get("images"))
    if value is None:
        if "conversations" in record:  # LLaVA's files hold text-only items; they are legitimate there
            return []
        raise HoldfastError("field 'image' is missing", remedy="add the path of the image")
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names):
        raise HoldfastError("field 'image' is neither a path nor a list of paths")
    return names


def _check_images(example: Example, known: dict[Path, HoldfastError | None]) -> None:
    for source in example.images:
        if not isinstance(source, Path):
            continue
        if source not in known:
            try:
                open_image(source)
                known[source] = None
            except HoldfastError as error:
                known[source] = error
        problem = known[source]
        if problem is not None:
            raise HoldfastError(problem.problem, remedy=problem.remedy)

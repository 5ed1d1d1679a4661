"""The forms in which people keep their examples, told apart record by record and brought to one.

======================  ==========================================================================================
form                    fields
======================  ==========================================================================================
simple                  ``image``, ``question``, ``answer``
conversations           LLaVA, ShareGPT: ``conversations`` of ``{"from", "value"}`` (or ``role``, ``content``)
conversation            the same under this name; XTuner, InternLM: of ``{"input", "output", "system"}``
messages                TRL, LLaMA-Factory, OpenAI: ``messages`` of ``{"role", "content"}``, content as text or parts
query and response      ms-swift: ``query``, ``response``, ``history``
instruction and output  Alpaca: ``instruction``, ``input``, ``output``, ``history``
prompt and completion   TRL: ``prompt``, ``completion``, as text or as messages
texts                   the_cauldron, FineVision: ``texts`` of ``{"user", "assistant"}``
======================  ==========================================================================================

All take ``image`` or ``images`` (a path, a data URI, ``{"path": ...}`` or ``{"bytes": ...}``, a list of them, or
nothing for an item of text alone), ``system`` and ``id``. Qwen-VL and ms-swift also write pictures into the text
(``<img>cat.png</img>``), MiniCPM calls several by their marks (``{"<image_00>": "cat.png"}``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from holdfast.data.examples import IMAGE_MARK, Turn
from holdfast.data.marks import images_in_text, in_marked_order, named_images
from holdfast.errors import HoldfastError

Values = Mapping[str, Any]
Parts = tuple[tuple[Turn, ...], list[Any], str]
"""The turns of a record, its images in the text, and its system prompt."""

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "system": "system",
    "developer": "system",
}
SYSTEM = ("system", "system_prompt", "system_message", "meta_instruction")
"""Fields that tools keep the system prompt in."""
MEDIA = frozenset(("video", "videos", "audio", "audios"))
DIALOGUES = ("conversations", "messages", "query", "instruction")
"""Fields by which the forms of training tools are known."""
TOOLS = frozenset(("tool", "function", "function_call", "observation", "ipython"))


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A record in one form.

    Attributes:
        turns: Questions and answers; ``<image>`` marks say where images stand.
        images: What stands for each image, as it was given.
        system: The system prompt; empty where there is none.
    """

    turns: tuple[Turn, ...]
    images: tuple[Any, ...]
    system: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to keep an example.

    Attributes:
        name: What it is called in messages.
        needs: Fields that a record of this form has.
        fields: All fields that the form takes; the rest of a record is carried along.
        read: From a record to its turns, its images in the text (none where ``images`` has them), and its system
            prompt.
    """

    name: str
    needs: frozenset[str]
    fields: frozenset[str]
    read: Callable[[Values], Parts]


def form_of(record: Values) -> Form:
    """The form of a record.

    Raises:
        HoldfastError: It has the fields of two forms that are no part of each other, or of none.
    """
    return _form_with(tuple(record))


@lru_cache(maxsize=1000)  # records of one file mostly have the same fields
def _form_with(fields: tuple[str, ...]) -> Form:
    found = [form for form in FORMS if form.needs.issubset(fields)]
    if not found and "conversation" in fields and "question" not in fields:
        return CONVERSATION  # the name is of one form only where nothing else can be read
    if len(found) > 1:
        names = " and as ".join(f"{form.name} ({', '.join(sorted(form.needs))})" for form in found)
        raise HoldfastError(f"the item can be read as {names}", remedy="keep the fields of one form")
    return found[0] if found else SIMPLE


def conversation_of(record: Values) -> tuple[Form, Dialogue]:
    """A record of any form as a conversation.

    Raises:
        HoldfastError: A field is missing, empty or of the wrong kind.
    """
    form = form_of(record)
    _refuse_other_media(record)
    record, marked = named_images(record)
    turns, inside, said = form.read(record)
    images = image_values(record, needed=form is SIMPLE)
    if form is not SIMPLE:
        _refuse_answers_of_a_model(record)
        _refuse_unfilled(record, turns)
        turns, written = images_in_text(turns)
        if written and (inside or images):
            raise HoldfastError(
                "images stand in the text (<img>PATH</img>) and in a field", remedy="keep them in one of the two places"
            )
        inside = inside or written
    if marked:
        turns, images = in_marked_order(turns, marked)
    if inside and images:
        raise HoldfastError(
            "images stand in the messages and in the field 'images'", remedy="keep them in one of the two places"
        )
    return form, Dialogue(turns, tuple(inside or images), _system_of(record, said))


def _system_of(record: Values, said: str) -> str:
    """The system prompt: a field under any of its names, or what a turn said."""
    given = {name: text for name in SYSTEM if (text := _text_or_nothing(record.get(name), name))}
    if said:
        given["a turn"] = said
    if len(set(given.values())) > 1:
        raise HoldfastError(f"the item has two system prompts: {' and '.join(given)}", remedy="keep one of them")
    return next(iter(given.values()), "")


def image_values(record: Values, *, needed: bool = False) -> list[Any]:
    """What a record gives in ``image`` and ``images``; nothing is ``None``, an empty text or an empty list.

    Raises:
        HoldfastError: Both fields name images, the field is of the wrong kind, or it is needed and missing.
    """
    one = record.get("image")
    if one and isinstance(one, str) and "images" not in record:
        return [one]
    given = {name: record[name] for name in ("image", "images") if name in record}
    if not given and needed:
        raise HoldfastError(
            f"field 'image' is missing; the item has {_fields_of(record)}",
            remedy="add the path of the image or null for text alone, or name the column under columns",
        )
    full = {name: _listed_images(value) for name, value in given.items()}
    full = {name: values for name, values in full.items() if values}
    if len(full) == 2 and full["image"] != full["images"]:
        raise HoldfastError("fields 'image' and 'images' name different images", remedy="keep one of them")
    return next(iter(full.values()), [])


def _listed_images(value: Any) -> list[Any]:
    values = value if isinstance(value, list | tuple) else [value]
    kept = [entry for entry in values if entry is not None and entry != ""]
    if not all(isinstance(entry, str | Mapping | bytes) or hasattr(entry, "tobytes") for entry in kept):
        raise HoldfastError("field 'image' is neither a path nor a list of paths")
    return kept


def answer_text(value: Any, name: str = "answer") -> str:
    """An answer as text.

    Raises:
        HoldfastError: It is empty or no text.
    """
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise HoldfastError(f"field '{name}' is not text", remedy="write the answer as text")
        if value != value or value in (float("inf"), float("-inf")):
            raise HoldfastError(f"field '{name}' is {value}, which is no answer", remedy="write the answer as text")
    text = str(value).strip()
    if not text:
        raise HoldfastError(f"field '{name}' is empty", remedy="write the answer, or remove the item")
    return text


def _simple(record: Values) -> Parts:
    question = record.get("question")
    if question is None:
        _refuse_preferences(record)
        known = "; ".join(f"{', '.join(sorted(form.needs))} ({form.name})" for form in FORMS)
        raise HoldfastError(
            f"field 'question' is missing; the item has {_fields_of(record)}",
            remedy=f"add it, name the column under columns, or use another form: {known}",
        )
    if not isinstance(question, str) or not question.strip():
        raise HoldfastError("field 'question' is empty or not text")
    answer = record.get("answer", record.get("answers"))
    if answer is None:
        raise HoldfastError(
            f"field 'answer' is missing; the item has {_fields_of(record)}",
            remedy="add the answer or a list of right answers, or name the column under columns",
        )
    answers = answer if isinstance(answer, list) else [answer]
    # As VQA's annotations write them: {"answer": "red", "answer_confidence": "yes"}.
    answers = [one["answer"] if isinstance(one, Mapping) and "answer" in one else one for one in answers]
    if not answers:
        raise HoldfastError("field 'answer' is an empty list", remedy="add at least one answer")
    return (Turn(question, tuple([answer_text(value) for value in answers])),), [], ""


def _conversation(record: Values) -> Parts:
    turns = record["conversation"]
    pairs = turns if isinstance(turns, list) else []
    if not pairs or not all(isinstance(pair, Mapping) and {"input", "output"} <= pair.keys() for pair in pairs):
        return _turns(turns, "conversation")
    systems = [text for pair in pairs if (text := _text_or_nothing(pair.get("system"), "system"))]
    if systems and (len(systems) > 1 or not pairs[0].get("system")):
        raise HoldfastError("a later pair of 'conversation' has a system prompt of its own", remedy="keep the first")
    said = tuple(_pair(pair["input"], pair["output"], "input", "output") for pair in pairs)
    return said, [], systems[0] if systems else ""


def _query(record: Values) -> Parts:
    return (*_history(record), _pair(record["query"], record["response"], "query", "response")), [], ""


def _instruction(record: Values) -> Parts:
    more = _text_or_nothing(record.get("input"), "input")
    asked = _text_or_nothing(record["instruction"], "instruction")
    question = "\n".join(part for part in (asked, more) if part)
    return (*_history(record), _pair(question, record["output"], "instruction", "output")), [], ""


def _prompt(record: Values) -> Parts:
    prompt, completion = record["prompt"], record["completion"]
    if isinstance(prompt, str) and isinstance(completion, str):
        return (_pair(prompt, completion, "prompt", "completion"),), [], ""
    if isinstance(prompt, list) and isinstance(completion, list):
        return _turns([*prompt, *completion], "prompt")
    raise HoldfastError("'prompt' and 'completion' are neither both text nor both messages")


def _texts(record: Values) -> Parts:
    texts = record["texts"]
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(one, Mapping) for one in texts):
        raise HoldfastError("field 'texts' is not a list of objects with 'user' and 'assistant'")
    return tuple(_pair(one.get("user"), one.get("assistant"), "user", "assistant") for one in texts), [], ""


def _fields_of(record: Values) -> str:
    return ", ".join(list(map(str, record))[:12])


def _refuse_preferences(record: Values) -> None:
    if {"chosen", "rejected"} <= record.keys():
        raise HoldfastError(
            "the item has a chosen and a rejected answer, and preferences are not trained on",
            remedy="keep the chosen answer as 'answer' and the prompt as 'question'",
        )


def _refuse_answers_of_a_model(record: Values) -> None:
    """What a model said is not taken for what it should say."""
    if record.get("label") is False:  # as TRL and LLaMA-Factory mark answers for KTO
        raise HoldfastError("the item's answer is marked as not wanted (label false)", remedy="leave the item out")
    if {"messages", "response", "labels"} <= record.keys():
        raise HoldfastError(
            "the item is a result of ms-swift's inference: 'response' and the last message are what a model said, "
            "'labels' what is right",
            remedy="train on the data set that it was asked from, or put the labels into the last message",
        )


def _refuse_other_media(record: Values) -> None:
    """Films and sounds are not left out in silence."""
    if MEDIA.isdisjoint(record):
        return
    kind = next((name for name in sorted(MEDIA) if record.get(name)), None)
    if kind is not None and not record.keys().isdisjoint(DIALOGUES):
        raise HoldfastError(f"the item has '{kind}', and only pictures are taken", remedy="leave the item out")


def _refuse_unfilled(record: Values, turns: Iterable[Turn]) -> None:
    """ms-swift fills boxes and names of objects into these marks while it trains."""
    if "objects" not in record or not isinstance(record["objects"], Mapping):
        return
    texts = [text for turn in turns for text in (turn.question, *turn.answers)]
    mark = next((mark for mark in ("<bbox>", "<ref-object>") if any(mark in text for text in texts)), None)
    if mark is not None:
        raise HoldfastError(
            f"the text has the mark {mark}, whose content stands in 'objects'", remedy="write the content into the text"
        )


def _pair(question: Any, answer: Any, asked: str, said: str) -> Turn:
    if not isinstance(question, str) or not question.strip():
        raise HoldfastError(f"field '{asked}' is empty or not text")
    return Turn(question, (answer_text(answer, said),))


def _history(record: Values) -> tuple[Turn, ...]:
    history = record.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in history):
        raise HoldfastError("field 'history' is not a list of [question, answer]")
    return tuple(_pair(question, answer, "history", "history") for question, answer in history)


def _turns(turns: Any, field: str) -> Parts:
    """Turns of a conversation in either spelling.

    A greeting before the first question is left out, as LLaVA's own training code does.
    """
    if not isinstance(turns, list) or not turns:
        raise HoldfastError(f"field '{field}' is not a list of turns")
    found: list[Turn] = []
    images: list[Any] = []
    system, question = "", None
    for position, turn in enumerate(turns, start=1):
        where = f"turn {position} of '{field}'"
        role, text, pictures = _turn(turn, where)
        images += pictures
        if role == "system":
            if position > 1:
                raise HoldfastError(f"{where} is a system prompt that does not come first")
            system = text
        elif role == "user":
            if question is not None:
                raise HoldfastError(f"{where} is a second question in a row", remedy="join the two into one")
            if not text.strip():
                raise HoldfastError(f"{where} is an empty question")
            question = text
        elif question is None:
            if found:
                raise HoldfastError(f"{where} is an answer without a question")
        else:
            found.append(Turn(question, (answer_text(text),)))
            question = None
    if question is not None or not found:
        raise HoldfastError("the conversation does not end with an answer", remedy="add the last answer")
    given = [image for image in images if image is not None]
    if given and len(given) != len(images):
        raise HoldfastError(f"some images of '{field}' are named in their place and some are not")
    return tuple(found), given, system


def _turn(turn: Any, where: str) -> tuple[str, str, list[Any]]:
    """Role, text with image marks, and the images that stand in its place (``None``: one of the field ``images``)."""
    if not isinstance(turn, Mapping):
        raise HoldfastError(f"{where} is not an object")
    name = turn.get("from", turn.get("role"))
    content = turn.get("value", turn.get("content"))
    role = ROLES.get(str(name).strip().lower())
    if role is None:
        if str(name).lower() in TOOLS:
            raise HoldfastError(f"{where} is from '{name}'; calls of tools are not trained on")
        raise HoldfastError(f"{where} is from '{name}'", remedy=f"known: {', '.join(ROLES)}")
    for mark, off in (("weight", 0), ("loss", False)):
        if turn.get(mark) == off and turn.get(mark) is not None and role == "assistant":
            said = f"{mark} {off}".lower()
            raise HoldfastError(f"{where} has {said}, and every answer is trained on", remedy="leave the item out")
    if isinstance(content, str):
        return role, content, []
    if not isinstance(content, list):
        raise HoldfastError(f"{where} has no text 'value' or 'content'")
    text, images = "", []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
            text += part["text"]
        elif kind in ("image", "image_url", "input_image"):
            text += IMAGE_MARK
            images.append(_image_of(part))
        else:
            raise HoldfastError(f"{where} holds a part of type '{kind}'", remedy="known: text, image, image_url")
    return role, text, images


def _image_of(part: Values) -> Any:
    """What a part of a message names as its image; ``None`` where the field ``images`` has it."""
    value = next((part[name] for name in ("image", "image_url", "url", "path", "base64") if part.get(name)), None)
    if isinstance(value, Mapping) and "url" in value:
        value = value["url"]
    source = part.get("source")
    if value is None and isinstance(source, Mapping):  # as Anthropic's form writes it
        value = source.get("url") or f"data:{source.get('media_type')};base64,{source.get('data')}"
    return value


def _text_or_nothing(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise HoldfastError(f"field '{name}' is not text")
    return value.strip()


def _form(name: str, needs: Iterable[str], more: Iterable[str], read: Any) -> Form:
    common = ("id", "image", "images", "system", "choices")
    return Form(name, frozenset(needs), frozenset((*needs, *more, *common)), read)


SIMPLE = _form("question and answer", ("question", "answer"), ("answers", "conversations"), _simple)
CONVERSATION = _form("conversation", ("conversation",), (), _conversation)
FORMS = (
    _form("conversations", ("conversations",), (), lambda record: _turns(record["conversations"], "conversations")),
    _form("messages", ("messages",), (), lambda record: _turns(record["messages"], "messages")),
    _form("query and response", ("query", "response"), ("history",), _query),
    _form("instruction and output", ("instruction", "output"), ("input", "history"), _instruction),
    _form("prompt and completion", ("prompt", "completion"), (), _prompt),
    _form("texts", ("texts",), (), _texts),
)
"""Tried on every record; one that fits none is of the simple form."""

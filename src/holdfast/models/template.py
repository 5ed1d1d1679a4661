"""What a chat template makes of a conversation: its text, where each answer stands in it, and what ends an answer.

A template is somebody else's program. It is only ever asked, never read: conversations are rendered with marks in the
place of their answers, so that an answer is found wherever the template puts it, and the text that is trained on is
compared with the template's own rendering of the real conversation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from holdfast.data.examples import Example
from holdfast.data.reasoning import REASONING, begins, parted, within
from holdfast.errors import HoldfastError
from holdfast.models.patience import bounded, stopped_clock
from holdfast.models.quoting import Quoting
from holdfast.values import JSON

Message = JSON


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, and the character spans ``[start, end)`` of its answers with their end mark."""

    text: str
    answers: tuple[tuple[int, int], ...]


def choose_template(processor: Any, tokenizer: Any) -> str:
    """The template of a processor, or of its tokenizer; of several named ones the one called ``default``.

    Raises:
        HoldfastError: There is none, or there are several and none is the default.
    """
    found = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    if isinstance(found, list | tuple):  # as chat_template.json may hold several; tokenizers read theirs themselves
        found = {entry["name"]: entry["template"] for entry in found}
    if isinstance(found, dict):
        named = {str(name): str(text) for name, text in found.items()}
        if "default" not in named and len(named) != 1:
            raise HoldfastError(
                f"the model has {len(named)} chat templates and none is the default: {', '.join(sorted(named))}",
                remedy="save the one you want as chat_template.jinja in the model's folder",
            )
        found = named.get("default", next(iter(named.values())))
    if not found:
        raise HoldfastError(
            "the model has no chat template",
            remedy="add chat_template.jinja to its folder, or use its chat version",
        )
    return str(found)


class ChatTemplate:
    """The chat template of a model.

    Args:
        source: The Jinja text.
        tokenizer: Whose sandbox renders it.
        image_mark: What stands for an image in a rendered text; empty where the processor names none.
        aloud: Whether a template that can be told to think or not is told to.

    Raises:
        HoldfastError: The template renders neither content in parts nor content as text.
    """

    def __init__(self, source: str, tokenizer: Any, image_mark: str = "", *, aloud: bool = False) -> None:
        self.source = source
        self.tokenizer = tokenizer
        self.image_mark = image_mark
        self._added = tuple(sorted(tokenizer.get_added_vocab(), key=len, reverse=True))
        self.quoting = Quoting(tokenizer, image_mark)
        # Unless the data reason: answers are short and are judged without thoughts.
        self.aloud = aloud
        self._switches = {name: aloud for name in ("enable_thinking", "thinking") if re.search(rf"\b{name}\b", source)}
        self.reasoning = tuple(pair for pair in REASONING if pair[1] in source or pair[1] in self._added)
        self._write = self._content_form()

    def render(self, example: Example, *, with_answer: bool) -> Rendered:
        """The conversation as text with the places of its answers.

        Where a template ends an answer without any token (LLaVA-1.5's), the end-of-sequence token is added, or the
        model would never learn to stop. Marks of reasoning that the template writes before an answer belong to it, as
        the model will have to write them; where the template leaves them out of earlier turns, they are left out.

        Args:
            example: The item; reserved tokens that its texts quote are broken up (:mod:`holdfast.models.quoting`).
            with_answer: Whether the last answer stands in the text, or the text stops where it is to begin.

        Raises:
            HoldfastError: The template raises, changes what was said, or rewrites earlier turns.
        """
        if example.thoughts and not self.aloud:
            return self.thinking.render(example, with_answer=with_answer)
        messages = self.messages(example, with_answer=with_answer)
        answers = [_text_of(message) for message in messages if message["role"] == "assistant"]
        marks = [_mark(number) for number in range(len(answers) + (not with_answer))]
        marked = self._marked(messages, marks)
        pieces = _split(self._apply(marked, example.id), marks, example.id)
        if messages[0]["role"] == "system" and _text_of(messages[0]).strip() not in pieces[0]:
            raise HoldfastError(
                "the chat template leaves the system prompt out",
                item=example.id,
                remedy="put it into the question, or give the model a template that writes it",
            )
        if answers:
            answers = self._as_written(messages, marked, answers, marks, example.id)
        places = [place for place, message in enumerate(marked) if message["role"] == "assistant"]
        text, ended = "", 0  # what is built; how much of the next piece the last answer's end mark has taken
        spans: list[tuple[int, int]] = []
        for number, place in enumerate(places):
            last = number == len(places) - 1
            alone = pieces
            if not last:
                alone = _split(self._apply(marked[: place + 1], example.id), marks[: number + 1], example.id)
            head = _joined(alone[: number + 1], marks)
            if not last and self._bare(head) != self._bare(_joined(pieces[: number + 1], marks)):
                raise HoldfastError(
                    "the chat template rewrites earlier turns, so answers cannot be told from the rest",
                    item=example.id,
                    remedy="give the model a chat template that only appends",
                )
            before = pieces[number][ended:]
            opening = self._opening(marked[:place], head, example.id)
            if not last and (opening.extra or not before.endswith(head[len(head) - opening.dropped :])):
                opening = _AS_IT_STANDS
            text += before[: len(before) - opening.dropped] + opening.extra
            if last and example.thoughts:
                opening = self._with_thoughts(opening, example, text)
            if last and not with_answer:
                return Rendered(text, tuple(spans))
            end = self._end_behind(alone[number + 1], pieces[number + 1])
            ended = len(end)
            start = len(text)
            # Where a turn within ends otherwise than the last one (gpt-oss), the model should learn the last one's end.
            otherwise = not end and self._ends(alone[number + 1].rstrip())
            added = "" if self._ends(end) or otherwise else self.tokenizer.eos_token or ""
            text += opening.lead + answers[number] + end + added
            spans.append((start, len(text)))
        return Rendered(text + pieces[-1][ended:], tuple(spans))

    @cached_property
    def thinking(self) -> ChatTemplate:
        """This template, told to think: for items whose data reason before they answer."""
        return ChatTemplate(self.source, self.tokenizer, self.image_mark, aloud=True)

    def _with_thoughts(self, opening: _Opening, example: Example, asked: str) -> _Opening:
        """What the model has to write before an answer, with the example's reasoning in it, in the model's own marks.

        Args:
            opening: What it writes without.
            example: Which has some.
            asked: The text up to there.
        """
        pair, said = within(example.thoughts)
        said = self.quoting.escape(said)
        if not self.reasoning:  # it knows no marks: they are text, as the data has them
            return replace(opening, lead=f"{opening.lead}{pair[0]}{said}{pair[1]}\n")
        first, closing = pair if pair in self.reasoning else self.reasoning[0]
        head, opened, _ = opening.lead.partition(first)
        if not opened and closing in opening.lead:  # the question ends with the first mark
            return replace(opening, lead=f"{said}\n{closing}\n\n")
        if asked.rstrip().endswith(closing):
            raise HoldfastError(
                "the chat template closes all reasoning before an answer, so that none can be learned",
                item=example.id,
                remedy="set reasoning: drop for these data, or give the model a template that lets it think",
            )
        return replace(opening, lead=f"{head}{first}\n{said}\n{closing}\n\n")

    def _opening(self, before: list[Message], head: str, item: str | None) -> _Opening:
        """How an answer begins: what the model is asked with is the template's own generation prompt."""
        asked = self._apply(before, item, generate=True)
        if head.startswith(asked):
            lead = head[len(asked) :]
            ignored = bool(lead.strip()) and self._apply(before, item) == asked
            if ignored and not any(closing in lead for _, closing in self.reasoning):
                return _AS_IT_STANDS  # the template ignores add_generation_prompt: the role's name is no answer
            return _Opening(len(lead), "", lead)
        for opening, closing in self.reasoning:  # opened where the question is asked, closed where it is answered
            base = asked.rstrip().removesuffix(opening)
            if base != asked.rstrip() and head.rstrip() == base + closing:
                return _Opening(len(head) - len(base), asked[len(base) :], f"\n{closing}\n\n")
        common = next(
            (i for i, (a, b) in enumerate(zip(asked, head, strict=False)) if a != b), min(len(asked), len(head))
        )
        surplus, missing = asked[common:], head[common:]
        if not missing.strip():
            for opening, closing in self.reasoning:
                if not surplus.replace(opening, "").replace(closing, "").strip():
                    # Opened and not closed: the model closes it before it answers, as it would have to when asked.
                    lead = "" if closing in surplus else f"\n{closing}\n\n"
                    return _Opening(len(missing), surplus, lead)
        raise HoldfastError(
            f"the chat template asks for an answer with {_short(asked[common:])} and writes {_short(head[common:])} "
            "before one",
            item=item,
            remedy="give the model a chat template whose generation prompt is how its answers begin",
        )

    def _end_behind(self, tail: str, following: str) -> str:
        """The end mark that stands behind an answer: ``tail`` where the conversation ends with it."""
        end = self._without_question(tail.rstrip())
        if following.startswith(end):
            return end
        for length in range(len(end) - 1, 0, -1):  # what stands behind the last answer only is cut off (Phi-3)
            if end[:length].endswith(self._added) and following.startswith(end[:length]):
                return end[:length]
        eos = self.tokenizer.eos_token or ""
        return eos if following.startswith(eos) else ""

    def _without_question(self, end: str) -> str:
        """What ends an answer, where the template asks for the next one whatever it is told: the first line, if it
        holds a mark; the rest is the generation prompt."""
        if not self._always_asks:
            return end
        line = end.split("\n")[0].rstrip()
        return line if line.endswith(self._added) else ""

    @cached_property
    def _always_asks(self) -> bool:
        """Whether a generation prompt stands behind every answer, with ``add_generation_prompt`` off too: then the end
        of a conversation is not how an answer within one goes on."""
        asked = self._marked([{"role": "user", "content": self._said("?")}], [_mark(0)])
        try:
            if self._apply(asked[:1], None) != self._apply(asked[:1], None, generate=True):
                return False
            head, tail = _split(self._apply(asked, None), [_mark(0)], None)
            going_on = self._apply([*asked, asked[0]], None)
        except HoldfastError:
            return False  # it takes one turn, or no such question
        prompt = self._apply(asked[:1], None).rstrip()
        common = _common_end(prompt, tail.rstrip())
        return (
            head.rstrip() == prompt
            and bool(common.strip())
            and not going_on.partition(_mark(0))[2].startswith(tail.rstrip())
        )

    def _ends(self, end: str) -> bool:
        eos = self.tokenizer.eos_token or ""
        return bool(eos and eos in end) or end.endswith(self._added)

    def _as_written(
        self, messages: list[Message], marked: list[Message], answers: list[str], marks: list[str], item: str
    ) -> list[str]:
        """The answers as the template writes them: as given, or without white space around them."""
        asks = messages[-1]["role"] != "assistant"
        real = self._apply(messages, item, generate=asks)
        pieces = _split(self._apply(marked[: len(messages)], item, generate=asks), marks[: len(answers)], item)
        for form in (answers, [answer.strip() for answer in answers]):
            if _joined(pieces, form) == real:
                return form
        raise HoldfastError(
            f"the chat template changes the answer {_short(answers[-1])}",
            item=item,
            remedy="give the model a chat template that writes answers as they are",
        )

    def _marked(self, messages: list[Message], marks: Sequence[str]) -> list[Message]:
        """The conversation with a mark in the place of each answer, one more where it ends with a question."""
        left = iter(marks)
        found = [
            message if message["role"] != "assistant" else {"role": "assistant", "content": self._said(next(left))}
            for message in messages
        ]
        return found + [{"role": "assistant", "content": self._said(mark)} for mark in left]

    def _said(self, text: str) -> Any:
        return self._write([{"type": "text", "text": text}])

    def _bare(self, text: str) -> str:
        """A text without reasoning and its marks, for comparing what else a template has changed."""
        for opening, closing in self.reasoning:
            text = re.sub(f"{re.escape(opening)}.*?{re.escape(closing)}\\s*", "", text, flags=re.DOTALL)
        return text

    def messages(self, example: Example, *, with_answer: bool) -> list[Message]:
        """The conversation in the form that the template takes, reserved tokens broken up."""
        found = []
        for message in example.messages(with_answer=with_answer):
            parts = [
                part if part["type"] != "text" else {"type": "text", "text": self.quoting.escape(part["text"])}
                for part in message["content"]
            ]
            found.append({"role": message["role"], "content": self._write(parts)})
        return found

    @cached_property
    def lead(self) -> str:
        """What the model has to write before its answer: white space, marks of reasoning, the name of a channel."""
        asked = self._marked([{"role": "user", "content": self._said("?")}], [_mark(0)])
        return self._opening(asked[:1], _split(self._apply(asked, None), [_mark(0)], None)[0], None).lead

    @cached_property
    def end_mark(self) -> str:
        """What the template writes behind an answer, without white space; empty where it writes nothing."""
        messages = [
            {"role": "user", "content": self._said("?")},
            {"role": "assistant", "content": self._said(_mark(0))},
        ]
        return self._without_question(_split(self._apply(messages, None), [_mark(0)], None)[1].rstrip())

    @cached_property
    def end_token(self) -> int | None:
        """The token that ends an answer where :attr:`end_mark` begins with one."""
        found = next((token for token in self._added if self.end_mark.lstrip().startswith(token)), None)
        return None if found is None else int(self.tokenizer.convert_tokens_to_ids(found))

    def judged(self, ids: Sequence[int]) -> str:
        """What is judged of a generated answer: no special tokens, no end mark, no reasoning and its marks.

        Reasoning that was never closed has no answer behind it. Of a template that is told to think this holds also
        where the question ends with the first mark, and where the model knows no marks.
        """
        said = self._behind_marks(self.quoting.broken_up(ids))
        if self.aloud and not self.reasoning:
            said = parted(said)[1]
            return "" if begins(said) else said
        return said

    def _behind_marks(self, tokens: list[int]) -> str:
        whole = str(self.tokenizer.decode(tokens))
        lead = self.lead.strip()
        for opening, closing in (*self.reasoning, *((("", lead),) if lead else ())):
            if closing in whole:
                cut = _first_with(self.tokenizer, tokens, closing)
                rest = str(self.tokenizer.decode(tokens[:cut])).rpartition(closing)[2]
                return self._plain(rest + str(self.tokenizer.decode(tokens[cut:], skip_special_tokens=True)))
            if opening and whole.lstrip().startswith(opening):
                return ""
        if self.aloud and any(closing in lead and opening not in lead for opening, closing in self.reasoning):
            return ""  # what the question has opened
        return self._plain(str(self.tokenizer.decode(tokens, skip_special_tokens=True)))

    def _plain(self, text: str) -> str:
        text = text.strip()
        if self.end_mark and text.endswith(self.end_mark):
            text = text.removesuffix(self.end_mark)
        return self.quoting.unescape(text).strip()

    def _apply(self, messages: list[Message], item: str | None, *, generate: bool = False) -> str:
        """What the template makes of a conversation; where that is none of the user's (``item`` is None), bounded."""
        from jinja2 import TemplateError

        try:
            with stopped_clock(), nullcontext() if item is not None else bounded():
                return str(
                    self.tokenizer.apply_chat_template(
                        messages,
                        chat_template=self.source,
                        tokenize=False,
                        add_generation_prompt=generate,
                        **self._switches,
                    )
                )
        except (TemplateError, *_RAISED) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise HoldfastError(
                f"the chat template does not take this conversation ({reason})",
                item=item,
                remedy="ask in the turns that the template knows, or give the model another chat_template.jinja",
            ) from error

    def _content_form(self) -> Callable[[list[Message]], Any]:
        """How this template takes content: in parts, as parts of text with image marks, or as one text."""
        reasons: list[HoldfastError] = []
        for form in (_in_parts, self._in_text_parts, self._as_text):
            try:
                plain = self._apply([{"role": "user", "content": form([_QUESTION])}], None)
                shown = self._apply([{"role": "user", "content": form([{"type": "image"}, _QUESTION])}], None)
            except HoldfastError as error:
                reasons.append(error)
                continue
            passed_over = bool(self.image_mark) and self.image_mark not in shown and shown == plain
            if plain.count(_QUESTION["text"]) == 1 and "'type'" not in plain and not passed_over:
                return form
        raise (
            reasons[0]
            if reasons
            else HoldfastError(
                "the chat template writes no question",
                remedy="give the model a chat template that writes the content of a user's turn",
            )
        )

    def _in_text_parts(self, parts: list[Message]) -> list[Message]:
        return [{"type": "text", "text": self._as_text(parts)}]

    def _as_text(self, parts: list[Message]) -> str:
        if self.image_mark:
            return "\n".join(part["text"] if part["type"] == "text" else self.image_mark for part in parts)
        return "\n".join(part["text"] for part in parts if part["type"] == "text")


@dataclass(frozen=True)
class _Opening:
    """Where an answer begins: ``dropped`` characters before its place in the template's text.

    ``extra`` stands there instead of them, and ``lead`` is written by the model before the answer itself.
    """

    dropped: int
    extra: str
    lead: str


_RAISED = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,  # the sandbox's own bound on ranges among them
    RuntimeError,
    AssertionError,
    MemoryError,
    SyntaxError,  # of what the template was compiled to
)
"""What somebody else's program may raise."""

_AS_IT_STANDS = _Opening(0, "", "")
_QUESTION = {"type": "text", "text": "Is it one?"}


def _in_parts(parts: list[Message]) -> list[Message]:
    return parts


def _mark(number: int) -> str:
    """Private characters that no template looks for, in the place of an answer."""
    return f"\ue000{number}\ue001"


def _text_of(message: Message) -> str:
    content = message["content"]
    return str(content if isinstance(content, str) else content[0]["text"])


def _split(text: str, marks: Sequence[str], item: str | None) -> list[str]:
    """The pieces of a text around some marks, each of which must stand in it once, in their order."""
    pieces = [text]
    for mark in marks:
        parts = pieces[-1].split(mark)
        if len(parts) != 2:
            raise HoldfastError(
                f"the chat template writes an answer {text.count(mark)} times",
                item=item,
                remedy="give the model a chat template that writes every answer once, in order and as it is",
            )
        pieces[-1:] = parts
    return pieces


def _joined(pieces: Sequence[str], between: Sequence[str]) -> str:
    return "".join(piece + (between[number] if number < len(pieces) - 1 else "") for number, piece in enumerate(pieces))


def _common_end(one: str, other: str) -> str:
    size = next((n for n, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=False)) if a != b), len(other))
    return other[len(other) - size :]


def _first_with(tokenizer: Any, tokens: list[int], wanted: str) -> int:
    """The length of the shortest beginning that holds the last ``wanted`` of the whole."""
    count = str(tokenizer.decode(tokens)).count(wanted)
    return next(n for n in range(1, len(tokens) + 1) if str(tokenizer.decode(tokens[:n])).count(wanted) == count)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")

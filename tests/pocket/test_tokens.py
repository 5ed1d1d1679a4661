"""The tokenizer loses nothing, words are one token, and the chat template only appends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.pocket.tasks import SOURCES, TARGETS, draw
from holdfast.pocket.tokens import ANSWER, BEGIN, BYTE_RANGE, END, IMAGE, SPECIAL, UNKNOWN, make_tokenizer, vocabulary
from holdfast.pocket.words import all_words

TOKENIZER = make_tokenizer()


def ids(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False).input_ids)


@given(st.text().filter(lambda text: not any(token in text for token in SPECIAL)))
@example("two  spaces\tand\n\nlines ")
@example("<0x41> and \u2581 are text; caf\u00e9, \u6f22\u5b57, \U0001f642")
@example(" leading")
def test_any_text_comes_back(text: str) -> None:
    found = ids(text)
    assert TOKENIZER.decode(found) == text
    assert UNKNOWN not in found


def test_every_word_is_one_token_alone_and_in_a_sentence() -> None:
    for word in all_words():
        assert len(ids(word)) == 1, word
        assert ids(f"red {word}")[1:] == ids(word), word


def test_answers_are_made_of_words() -> None:
    """Nothing that a task answers is spelled in characters."""
    for task in SOURCES + TARGETS:
        for sample in draw(task, "train", 60):
            assert max(ids(sample.answer)) < BYTE_RANGE.start
            assert len(ids(sample.answer)) <= 2 * len(sample.answer.split())


def test_special_tokens_have_fixed_ids() -> None:
    assert [TOKENIZER.convert_tokens_to_ids(token) for token in SPECIAL] == list(range(len(SPECIAL)))
    assert TOKENIZER.image_token == "<image>" and TOKENIZER.image_token_id == IMAGE
    assert len(vocabulary()) == len(TOKENIZER) < 600


def turn(role: str, *parts: str) -> dict[str, Any]:
    content = [{"type": "image"} if part == "<image>" else {"type": "text", "text": part} for part in parts]
    return {"role": role, "content": content}


def render(messages: list[dict[str, Any]], generate: bool = False) -> str:
    return str(TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate))


def test_one_turn() -> None:
    messages = [turn("user", "<image>", "what color?"), turn("assistant", "red")]
    assert render(messages) == "<s><image>what color?<answer>red</s>"
    assert render(messages[:1], generate=True) == "<s><image>what color?<answer>"


def test_two_turns_with_two_pictures_append_only() -> None:
    messages = [
        turn("user", "<image>", "<image>", "first?"),
        turn("assistant", "yes"),
        turn("user", "and", "<image>", "then?"),
        turn("assistant", "no"),
    ]
    full = render(messages)
    assert full == "<s><image><image>first?<answer>yes</s>and<image>then?<answer>no</s>"
    for count, generate in ((1, True), (2, False), (3, True)):
        assert full.startswith(render(messages[:count], generate))


@pytest.mark.parametrize("content", ["what color?", [{"type": "text", "text": "what color?"}]])
def test_plain_text_content_and_a_system_turn(content: Any) -> None:
    user = {"role": "user", "content": content}
    assert render([user], generate=True) == "<s>what color?<answer>"
    system = {"role": "system", "content": "copy"}
    assert render([system, user], generate=True) == "<s>copy what color?<answer>"


def test_a_rendered_turn_has_the_tokens_of_a_packed_pair() -> None:
    from holdfast.pocket.making.packing import encode

    text = render([turn("user", "<image>", "what color is the circle?"), turn("assistant", "red")])
    pair = [*encode("what color is the circle?"), ANSWER, *encode("red"), END]
    assert ids(text) == [BEGIN, IMAGE, *pair]

"""Both forms of example files, with everything that text files bring along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.data.examples import Example, Turn
from holdfast.data.readers import ExamplesRead, read_examples
from holdfast.errors import HoldfastError
from tests.support.desk import picture, write_lines


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for index in range(4):
        picture(folder / f"{index}.png", index)
    return folder


def read(root: Path, content: str | bytes) -> ExamplesRead:
    file = root / "data.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_examples(file)


def good(root: Path, *rows: dict[str, Any]) -> tuple[Example, ...]:
    reading = read(root, "\n".join(json.dumps(row) for row in rows))
    assert reading.problems == ()
    return reading.examples


ROW = {"image": "0.png", "question": "what ?", "answer": "red"}


def test_the_simple_form(root: Path) -> None:
    (example,) = good(root, {**ROW, "id": "a", "choices": ["red", "blue"], "grade": 3})
    assert example.id == "a"
    assert example.question == "what ?"
    assert example.answers == ("red",)
    assert example.images == ((root / "0.png").resolve(),)
    assert example.choices == ("red", "blue")
    assert example.extra == {"grade": 3}


def test_several_answers_images_and_synonyms(root: Path) -> None:
    many, synonyms, numbers = good(
        root,
        {"image": ["0.png", "1.png"], "question": "<image> or <image> ?", "answer": ["red", "crimson"]},
        {"images": ["2.png"], "question": "?", "answers": ["a", "b"], "id": 7},
        {"image": "3.png", "question": "?", "answer": 12, "question_id": 8},
    )
    assert many.answers == ("red", "crimson")
    assert [part["type"] for part in many.messages(with_answer=True)[0]["content"]] == [
        "image", "text", "image", "text",
    ]  # fmt: skip
    assert many.messages(with_answer=True)[1]["content"][0]["text"] == "red"
    assert (synonyms.id, synonyms.answers, len(synonyms.images)) == ("7", ("a", "b"), 1)
    assert (numbers.id, numbers.answers) == ("8", ("12",))
    assert numbers.extra == {"question_id": 8}, "metrics may ask for it"


def test_whole_number_and_text_ids_are_the_same_id(root: Path) -> None:
    reading = read(root, json.dumps({**ROW, "id": 1}) + "\n" + json.dumps({**ROW, "id": "1"}))
    assert [str(problem.item) for problem in reading.problems] == ["1"]
    assert reading.problems[0].line == 2


def test_items_without_id_are_called_by_their_line(root: Path) -> None:
    reading = read(root, f"\n{json.dumps(ROW)}\n\n{json.dumps(ROW)}\n")
    assert [example.id for example in reading.examples] == ["line-2", "line-4"]


CONVERSATION = {
    "id": 5,
    "image": "0.png",
    "conversations": [
        {"from": "human", "value": "<image>\nwhat is it ?"},
        {"from": "gpt", "value": "a circle"},
        {"from": "human", "value": "what colour ?"},
        {"from": "gpt", "value": "red"},
    ],
}


@pytest.mark.parametrize("form", ["list", "pretty list", "lines"])
def test_llava_conversations(root: Path, form: str) -> None:
    text_only = {"id": 6, "conversations": CONVERSATION["conversations"][2:]}
    two = {
        "id": "two", "image": ["0.png", "1.png"],
        "conversations": [{"from": "user", "value": "<image><image>\nsame ?"}, {"from": "assistant", "value": "no"}],
    }  # fmt: skip
    rows = [CONVERSATION, text_only, two]
    text = json.dumps(rows, indent=2 if form == "pretty list" else None)
    reading = read(root, text if form != "lines" else "\n".join(map(json.dumps, rows)))
    assert reading.problems == ()
    first, second, third = reading.examples
    assert [turn.answers for turn in first.turns] == [("a circle",), ("red",)]
    assert first.question == "what colour ?"
    roles = [message["role"] for message in first.messages(with_answer=False)]
    assert roles == ["user", "assistant", "user"]
    assert first.messages(with_answer=False)[0]["content"][0] == {"type": "image"}
    assert second.images == ()
    assert second.messages(with_answer=True)[0]["content"] == [{"type": "text", "text": "what colour ?"}]
    assert len(third.images) == 2


def test_problems_in_a_list_carry_the_line_on_which_the_item_begins(root: Path) -> None:
    bad = {"id": "bad", "image": "0.png", "conversations": []}
    lines = json.dumps([CONVERSATION, bad], indent=1).split("\n")
    expected = 1 + next(index for index, line in enumerate(lines) if '"bad"' in line) - 1
    (problem,) = read(root, "\n".join(lines)).problems
    assert (problem.line, problem.item) == (expected, "bad")


def test_items_of_a_list_on_one_line_have_names_of_their_own(root: Path) -> None:
    reading = read(root, "\n\n\n" + json.dumps([ROW, ROW, ROW]))
    assert [example.id for example in reading.examples] == ["item-1", "item-2", "item-3"]


def test_line_separators_byte_order_marks_and_windows_line_ends(root: Path) -> None:
    strange = {**ROW, "question": "a\u2028b\u2029c\x85d ?", "answer": "\u00e9\U0001f600"}
    plain = json.dumps(strange, ensure_ascii=False)
    reading = read(root, b"\xef\xbb\xbf" + f"{plain}\r\n\r\n  \r\n{plain}\r\n".encode())
    assert reading.problems == ()
    assert [example.id for example in reading.examples] == ["line-1", "line-4"]
    assert reading.examples[0].turns[0].question == strange["question"]
    assert reading.examples[0].answers == (strange["answer"],)


def test_a_picture_is_opened_once_and_each_of_its_items_is_named(root: Path) -> None:
    (root / "broken.png").write_bytes(b"no picture")
    rows = [{**ROW, "image": "broken.png", "id": index} for index in range(3)]
    reading = read(root, "\n".join(map(json.dumps, rows)))
    assert [problem.item for problem in reading.problems] == ["0", "1", "2"]
    assert read_examples(root / "data.jsonl", open_images=False).problems == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("id", "image", "images", "question", "answer", "answers", "choices", "conversations", "question_id")


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), min_size=1, max_size=4), data=st.data()
)
def test_whatever_the_fields_hold_there_is_an_example_or_a_problem(
    rows: list[dict[str, Any]], data: st.DataObject, root: Path
) -> None:
    for row in rows:
        row.update({key: value for key, value in ROW.items() if data.draw(st.booleans())})
    reading = read(root, "\n".join(map(json.dumps, rows)))
    assert len(reading.examples) + len(reading.problems) == len(rows)
    assert all(problem.line and problem.file for problem in reading.problems)
    for example in reading.examples:
        assert example.messages(with_answer=True)[-1]["role"] == "assistant"
        json.dumps(example.question).encode("utf-8")


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=60))
def test_whatever_the_bytes_are_nothing_but_one_sentence_is_raised(content: bytes, root: Path) -> None:
    try:
        read(root, content)
    except HoldfastError as error:
        assert error.file


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.integers(0, 3), min_size=1, max_size=5), data=st.data())
def test_a_cut_list_is_refused(rows: list[int], data: st.DataObject, root: Path) -> None:
    text = json.dumps(
        [{**ROW, "id": index} for index in range(len(rows))], indent=data.draw(st.sampled_from([None, 1]))
    )
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.raises(HoldfastError, match=r"not valid JSON"):
        read(root, text[:cut])


def test_limit(root: Path) -> None:
    file = write_lines(root / "data.jsonl", [ROW] * 9)
    assert len(read_examples(file, limit=4).examples) == 4


def test_identities_are_digests_of_this_very_text() -> None:
    assert repr(Turn('a "b"\n', ("it's", "é"))) == """Turn(question='a "b"\\n', answers=("it's", 'é'))"""

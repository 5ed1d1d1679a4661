"""Every form in which people keep examples, written as the tools that use it write it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.data.examples import Example
from holdfast.data.images import open_image
from holdfast.data.readers import ExamplesRead, read_examples
from holdfast.errors import HoldfastError
from tests.support.desk import picture


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for index in range(3):
        picture(folder / f"{index}.png", index)
    return folder


def read(root: Path, *rows: dict[str, Any], name: str = "data.json") -> ExamplesRead:
    (root / name).write_text(json.dumps(list(rows)), encoding="utf-8")
    return read_examples(root / name)


def one(root: Path, row: dict[str, Any]) -> Example:
    reading = read(root, row)
    assert reading.problems == (), reading.problems
    return reading.examples[0]


def problem(root: Path, row: dict[str, Any]) -> str:
    (found,) = read(root, row).problems
    return str(found)


ASK = [{"role": "user", "content": "<image>How many?"}, {"role": "assistant", "content": "two"}]
PARTS = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many?"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "two"}]},
]
SAME = {
    "simple": {"image": "0.png", "question": "How many?", "answer": "two"},
    "LLaVA": {
        "image": "0.png",
        "conversations": [{"from": "human", "value": "<image>\nHow many?"}, {"from": "gpt", "value": "two"}],
    },
    "LLaVA, a list of one": {
        "image": ["0.png"],
        "conversations": [{"from": "human", "value": "<image>\nHow many?"}, {"from": "gpt", "value": "two"}],
    },
    "ShareGPT with roles": {"images": ["0.png"], "conversations": ASK},
    "messages, marks": {"messages": ASK, "images": ["0.png"]},
    "messages, parts": {"messages": PARTS, "images": ["0.png"]},
    "messages, images as objects": {"messages": PARTS, "images": [{"path": "0.png", "bytes": None}]},
    "messages, image in its part": {
        "messages": [
            {"role": "user", "content": [{"type": "image", "image": "0.png"}, {"type": "text", "text": "How many?"}]},
            PARTS[1],
        ]
    },
    "OpenAI": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "0.png"}},
                    {"type": "text", "text": "How many?"},
                ],
            },
            {"role": "assistant", "content": "two"},
        ]
    },
    "ms-swift": {"query": "<image>How many?", "response": "two", "images": ["0.png"]},
    "Alpaca": {"instruction": "How many?", "input": "", "output": "two", "images": ["0.png"]},
    "TRL, text": {"prompt": "How many?", "completion": "two", "image": "0.png"},
    "TRL, messages": {"prompt": PARTS[:1], "completion": PARTS[1:], "images": ["0.png"]},
}


@pytest.mark.parametrize("name", SAME)
def test_all_say_the_same(root: Path, name: str) -> None:
    example = one(root, SAME[name])
    assert (example.question, example.answers, example.system) == ("How many?", ("two",), "")
    assert example.images == ((root / "0.png").resolve(),)
    assert example.messages(with_answer=True) == PARTS
    assert example.extra == {}


def test_the_form_is_named(root: Path) -> None:
    assert read(root, SAME["simple"], SAME["OpenAI"], SAME["ms-swift"]).forms == {
        "question and answer": 1,
        "messages": 1,
        "query and response": 1,
    }


def test_system_prompts_as_field_and_as_turn(root: Path) -> None:
    turn = {"messages": [{"role": "system", "content": "Be brief."}, *ASK], "images": ["0.png"]}
    field = {"messages": ASK, "images": ["0.png"], "system": "Be brief."}
    for row in (turn, field, {**turn, **field, "messages": turn["messages"]}):
        example = one(root, row)
        assert example.system == "Be brief."
        assert example.messages(with_answer=True)[0] == {
            "role": "system",
            "content": [{"type": "text", "text": "Be brief."}],
        }
    assert "two system prompts" in problem(root, {**turn, "system": "Be long."})


def test_history_is_turns(root: Path) -> None:
    swift = one(root, {"query": "And now?", "response": "three", "history": [["How many?", "two"]], "images": []})
    assert [(turn.question, turn.answers) for turn in swift.turns] == [
        ("How many?", ("two",)),
        ("And now?", ("three",)),
    ]
    alpaca = one(root, {"instruction": "Count", "input": "1 2", "output": "2", "history": [["a", "b"]]})
    assert [turn.question for turn in alpaca.turns] == ["a", "Count\n1 2"]


@pytest.mark.parametrize("nothing", [{"image": None}, {"image": ""}, {"images": []}, {"image": None, "images": []}, {}])
def test_text_alone(root: Path, nothing: dict[str, Any]) -> None:
    assert one(root, {**nothing, "messages": [{"role": "user", "content": "2 + 2 ?"}, ASK[1]]}).images == ()
    if nothing:
        assert one(root, {**nothing, "question": "2 + 2 ?", "answer": 4}).images == ()


def test_image_beside_images(root: Path) -> None:
    assert len(one(root, {"image": None, "images": ["0.png"], "messages": ASK}).images) == 1
    assert len(one(root, {"image": "0.png", "images": ["0.png"], "messages": ASK}).images) == 1
    assert "different images" in problem(root, {"image": "1.png", "images": ["0.png"], "messages": ASK})


def test_ids_of_conversations_may_be_those_of_pictures(root: Path) -> None:
    row = {"id": "a", **SAME["LLaVA"]}
    assert [example.id for example in read(root, row, row, row).examples] == ["a", "a#2", "a#3"]
    simple = {"id": "a", **SAME["simple"]}
    assert "stands on line" in str(read(root, simple, simple).problems[0])


def test_a_greeting_before_the_first_question_is_left_out(root: Path) -> None:
    greeted = {"messages": [{"role": "assistant", "content": "Hello."}, *ASK], "images": ["0.png"]}
    assert len(one(root, greeted).turns) == 1


def test_pictures_inside_a_record(root: Path) -> None:
    content = (root / "1.png").read_bytes()
    uri = "data:image/png;base64," + base64.b64encode(content).decode()
    by_uri = one(root, {"image": uri, "question": "?", "answer": "a"})
    by_path = one(root, {"image": "1.png", "question": "?", "answer": "a"})
    assert np.array_equal(np.asarray(open_image(by_uri.images[0])), np.asarray(open_image(by_path.images[0])))
    again = one(root, {"image": uri, "question": "other ?", "answer": "a"})
    assert by_uri.image_key == again.image_key and by_uri.images == again.images
    assert "no base64 image" in problem(root, {"image": "data:text/plain,hello", "question": "?", "answer": "a"})
    broken = "data:image/png;base64," + base64.b64encode(content[: len(content) // 2]).decode()
    assert "damaged" in problem(root, {"image": broken, "question": "?", "answer": "a"})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": ASK, "conversations": ASK, "images": ["0.png"]}, "can be read as conversations"),
        ({"messages": [*ASK, ASK[0]], "images": ["0.png"]}, "does not end with an answer"),
        ({"messages": [ASK[0], ASK[0], ASK[1]], "images": ["0.png"]}, "second question in a row"),
        ({"messages": [{"role": "tool", "content": "x"}, *ASK], "images": ["0.png"]}, "calls of tools"),
        ({"messages": [{"role": "critic", "content": "x"}, *ASK], "images": ["0.png"]}, "from 'critic'"),
        ({"messages": [ASK[0], {**ASK[1], "weight": 0}], "images": ["0.png"]}, "weight 0"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}, ASK[1]]}, "part of type 'video'"),
        ({"messages": ASK, "images": []}, "1 <image> marks stand in the text but 0 images"),
        ({"image": "https://example.org/cat.png", "question": "?", "answer": "a"}, "nothing is fetched"),
        ({"image": "..\\cats\\1.png", "question": "?", "answer": "a"}, "../cats/1.png"),
        ({"question": "?", "answer": "a"}, "field 'image' is missing"),
        ({"prompt": "a", "completion": ["b"]}, "neither both text nor both messages"),
    ],
)
def test_what_cannot_be_read_is_said(root: Path, row: dict[str, Any], said: str) -> None:
    assert said in problem(root, row)


def test_an_answer_may_quote_an_image_mark(root: Path) -> None:
    assert one(root, {"image": "0.png", "question": "?", "answer": "an <image> tag"}).answers == ("an <image> tag",)


@pytest.mark.parametrize("separator", [",", "\t"])
def test_tables_with_columns_of_their_own(root: Path, separator: str) -> None:
    file = root / ("table.csv" if separator == "," else "table.tsv")
    rows = [["file", "prompt", "gold", "level"], ["0.png", "How many?", "two", "1"], ["", "2 + 2 ?", "4", "2"]]
    file.write_text("".join(separator.join(row) + "\n" for row in rows), encoding="utf-8")
    columns = {"image": "file", "question": "prompt", "answer": "gold"}
    reading = read_examples(file, columns=columns)
    first, second = reading.examples
    assert (first.question, first.answers, len(first.images)) == ("How many?", ("two",), 1)
    assert (second.answers, second.images) == (("4",), ()) and first.extra == {"level": "1"}
    missing = read_examples(file, columns={**columns, "answer": "golden"})
    assert "no column 'golden' for 'answer'" in str(missing.problems[0])


def test_lists_in_cells(root: Path) -> None:
    file = root / "lists.csv"
    file.write_text('image,question,answer,choices\n0.png,?,"[""a"", ""b""]","[""a"", ""b""]"\n', encoding="utf-8")
    (example,) = read_examples(file).examples
    assert (example.answers, example.choices) == (("a", "b"), ("a", "b"))


def base64_of(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


PICTURES_IN_TEXT = {
    "Qwen-VL": {
        "conversations": [
            {"from": "user", "value": "Picture 1: <img>1.png</img>\nPicture 2: <img>0.png</img>\nWhich?"},
            {"from": "assistant", "value": "<img>is text here</img>"},
        ]
    },
    "ms-swift": {"query": "<img>1.png</img><img>0.png</img>Which?", "response": "two"},
    "MiniCPM": {
        "image": {"<image_00>": "0.png", "<image_01>": "1.png"},
        "conversations": [
            {"role": "user", "content": "Of <image_01> and <image_00> which?"},
            {"role": "assistant", "content": "two"},
        ],
    },
}


@pytest.mark.parametrize("tool", PICTURES_IN_TEXT)
def test_pictures_that_are_named_in_the_text(root: Path, tool: str) -> None:
    """Without this an item was trained on as text alone, its path a part of the question."""
    example = one(root, PICTURES_IN_TEXT[tool])
    assert [path.name for path in example.images if isinstance(path, Path)] == ["1.png", "0.png"]
    asked = example.turns[0].question
    assert asked.count("<image>") == 2 and "png" not in asked and "<image_" not in asked


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"query": "<img>1.png</img>?", "response": "a", "images": ["0.png"]}, "in the text (<img>PATH</img>) and in"),
        ({"query": "<img>1.png</img> <image>?", "response": "a"}, "both <image> and <img>PATH</img>"),
        (
            {"image": {"<image_00>": "0.png"}, "conversations": [{"role": "user", "content": "<image_01>?"}, ASK[1]]},
            "the mark <image_01> has no image",
        ),
        ({"messages": ASK, "images": ["0.png"], "videos": ["a.mp4"]}, "'videos', and only pictures"),
        ({"messages": [ASK[0], {**ASK[1], "loss": False}], "images": ["0.png"]}, "loss false"),
        (
            {
                "messages": [ASK[0], {"role": "assistant", "content": "<bbox>"}],
                "images": ["0.png"],
                "objects": {"bbox": [[1, 2, 3, 4]]},
            },
            "the mark <bbox>, whose content stands in 'objects'",
        ),
        ({"messages": ASK, "images": ["0.png"], "label": False}, "marked as not wanted"),
        ({"messages": ASK, "images": ["0.png"], "response": "cat", "labels": "dog"}, "result of ms-swift's inference"),
        ({"image_path": "0.png", "question": "?", "answer": "a"}, "the item has image_path, question, answer"),
        ({"prompt": "?", "chosen": "a", "rejected": "b", "images": []}, "preferences are not trained on"),
        ({"file_name": "0.png", "text": "a"}, "the item has file_name, text"),
        ({"image": "0.png", "question": "?", "choices": ["cat", "dog"], "answer": 1}, "or the number of an option"),
        ({"image": "0.png", "question": "?", "options": ["cat", "dog"], "answer": "0"}, "or the number of an option"),
    ],
)
def test_nothing_is_left_out_in_silence(root: Path, row: dict[str, Any], said: str) -> None:
    assert said in problem(root, row)


def test_media_that_hold_nothing_and_trained_turns_are_no_trouble(root: Path) -> None:
    row = {
        "messages": [ASK[0], {**ASK[1], "loss": True, "weight": 1}],
        "images": ["0.png"],
        "videos": [],
        "audios": None,
    }
    assert one(root, row).answers == ("two",)


@pytest.mark.parametrize(
    ("more", "choices"),
    [
        ({"choices": ["1", "2"], "answer": 1}, ("1", "2")),
        ({"options": {"A": "cat", "B": "dog"}, "answer": "A"}, ("cat", "dog")),
        ({"options": "['cat', \"dog\"]", "answer": "A"}, ("cat", "dog")),
        ({"A": "cat", "B": "dog", "C": None, "answer": "A"}, ("cat", "dog")),
        ({"options": "for sale", "A": "alone", "answer": "A"}, ()),
    ],
)
def test_options_under_other_names(root: Path, more: dict[str, Any], choices: tuple[str, ...]) -> None:
    assert one(root, {"image": "0.png", "question": "?", **more}).choices == choices


def test_pictures_in_base64_alone_and_borrowed_by_index(root: Path) -> None:
    rows = [
        {"index": "7", "image": base64_of(root / "1.png"), "question": "?", "answer": "['a', 'b']"},
        {"index": "8", "image": "7", "question": "other?", "answer": "[1, 2, 3]"},
    ]
    for name, separator in (("kit.tsv", "\t"), ("kit.csv", ";")):
        file = root / name
        file.write_text(
            "\n".join(separator.join(row) for row in (rows[0], *(r.values() for r in rows))) + "\n", "utf-8"
        )
        first, second = read_examples(file).examples
        assert first.images == second.images and first.image_key == second.image_key
        assert np.array_equal(np.asarray(open_image(first.images[0])), np.asarray(open_image(root / "1.png")))
        assert first.answers == ("a", "b") and second.answers == ("[1, 2, 3]",)  # a box is one answer
    lone = {"image": base64_of(root / "1.png"), "question": "?", "answer": "a"}
    assert one(root, lone).image_key == first.image_key


def test_answers_as_vqa_writes_them_and_texts(root: Path) -> None:
    answers = [{"answer": text, "answer_confidence": "yes"} for text in ("red", "red", "blue")]
    assert one(root, {"image": "0.png", "question": "?", "answers": answers}).answers == ("red", "red", "blue")
    texts = [{"user": "a?", "assistant": "1", "source": "x"}, {"user": "b?", "assistant": "2", "source": "x"}]
    assert [turn.answers for turn in one(root, {"images": ["0.png"], "texts": texts}).turns] == [("1",), ("2",)]


def whole(root: Path, content: Any) -> ExamplesRead:
    (root / "whole.json").write_text(json.dumps(content), encoding="utf-8")
    return read_examples(root / "whole.json")


def test_records_inside_one_object(root: Path) -> None:
    row = SAME["simple"]
    for content in ({"dataset_name": "x", "data": [row, row]}, {"k1": row, "k2": row}):
        reading = whole(root, content)
        assert len(reading.examples) == 2 and not reading.problems
    assert [example.id for example in reading.examples] == ["k1", "k2"]
    assert len(whole(root, row).examples) == 1
    with pytest.raises(HoldfastError, match="several lists: images, annotations"):
        whole(root, {"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": "a"}]})
    for listed in ({"root": "images", "annotation": "a.jsonl"}, {"file_name": "a.jsonl", "formatting": "sharegpt"}):
        with pytest.raises(HoldfastError, match=r"lists data sets .* such as a\.jsonl"):
            whole(root, {"mine": listed})


def test_pictures_in_messages_of_other_interfaces(root: Path) -> None:
    text = base64_of(root / "1.png")
    parts: list[dict[str, Any]] = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": text}},
        {"type": "image", "image": f"data:image;base64,{text}"},  # Qwen's documents leave the kind out
        {"type": "input_image", "image_url": f"data:image/png;name=a.png;base64,{text}"},
    ]
    expected = np.asarray(open_image(root / "1.png"))
    for part in parts:
        asked = {"role": "user", "content": [part, {"type": "text", "text": "?"}]}
        (picture_,) = one(root, {"messages": [asked, ASK[1]]}).images
        assert np.array_equal(np.asarray(open_image(picture_)), expected)


@pytest.mark.parametrize("cell", ["['two' 'three']", "('two', 'three')", " ['two', 'three'] ", "['two'\n 'three']"])
def test_lists_as_python_and_numpy_write_them(root: Path, cell: str) -> None:
    file = root / "lists.csv"
    file.write_text(f'image,question,answer\n0.png,?,"{cell}"\n', encoding="utf-8")
    (example,) = read_examples(file).examples
    assert example.answers == ("two", "three")


@pytest.mark.parametrize("cell", ["(1, 2)", "[1, 2]", "('two')", "()", "{1}"])
def test_points_boxes_and_brackets_are_one_answer(root: Path, cell: str) -> None:
    file = root / "points.csv"
    file.write_text(f'image,question,answer\n0.png,?,"{cell}"\n', encoding="utf-8")
    (example,) = read_examples(file).examples
    assert example.answers == (cell,)


@pytest.mark.parametrize("cell", ["nan", "NaN", "['two', nan]", '[""two"", NaN]'])
def test_what_pandas_writes_for_nothing_is_no_answer(root: Path, cell: str) -> None:
    file = root / "nothing.csv"
    file.write_text(f'image,question,answer\n0.png,?,"{cell}"\n0.png,?,two\n', encoding="utf-8")
    read = read_examples(file)
    assert [example.answers for example in read.examples] == [("two",)]
    assert read.problems[0].line == 2 and "answer" in read.problems[0].problem


@pytest.mark.parametrize("name", ["system_prompt", "system_message", "meta_instruction"])
def test_system_prompts_under_other_names(root: Path, name: str) -> None:
    row = {"image": "0.png", "question": "?", "answer": "two", name: "Be brief."}
    assert one(root, row).system == "Be brief."
    assert "two system prompts" in problem(root, row | {"system": "Be long."})


@pytest.mark.parametrize(("asks", "says"), [("Human", "Assistant"), ("USER", "bot"), ("human", "chatgpt")])
def test_roles_in_other_words(root: Path, asks: str, says: str) -> None:
    turns = [{"from": asks, "value": "<image>?"}, {"from": says, "value": "two"}]
    for name in ("conversations", "conversation"):
        assert one(root, {"image": "0.png", name: turns}).turns[0].answers == ("two",)


def test_pairs_as_xtuner_keeps_them(root: Path) -> None:
    pairs = [{"system": "Be brief.", "input": "<image>?", "output": "two"}, {"input": "Sure?", "output": "yes"}]
    example = one(root, {"image": "0.png", "conversation": pairs})
    assert [(turn.question, turn.answers) for turn in example.turns] == [("<image>?", ("two",)), ("Sure?", ("yes",))]
    assert example.system == "Be brief."
    late = [pairs[1], pairs[0]]
    assert "system prompt" in problem(root, {"image": "0.png", "conversation": late})


def test_a_field_called_conversation_beside_a_question_is_carried_along(root: Path) -> None:
    example = one(root, {"image": "0.png", "question": "?", "answer": "two", "conversation": "c7"})
    assert example.extra == {"conversation": "c7"}

"""Answers that begin with their own reasoning: what is trained on, and what is judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.config.schema import TaskSpec
from holdfast.data.examples import Example, Turn
from holdfast.data.reasoning import parted, without_reasoning
from holdfast.tasks.resolve import resolve_task
from tests.support.desk import Desk, records, write_lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>it is round</think>circle", ("<think>it is round</think>", "circle")),
        ("\n<think>\na\n</think>\n\n circle ", ("<think>\na\n</think>", "circle")),
        ("[THINK]a[/THINK]b", ("[THINK]a[/THINK]", "b")),
        ("<think>a</think> b </think>", ("<think>a</think>", "b </think>")),
        ("a <think>b</think> c", None),
        ("<think>never closed", None),
        ("<think>nothing behind</think>\n", None),
        ("<think>a</thinking>b", None),
        ("circle ", None),
    ],
)
def test_an_answer_is_parted_from_its_reasoning(text: str, expected: tuple[str, str] | None) -> None:
    assert parted(text) == (expected or ("", text))


def test_the_last_turn_alone_keeps_it() -> None:
    turns = (Turn("a", ("<think>x</think>b",)), Turn("c", ("<think>y</think>d", "<think>z</think>e")))
    talk, plain = Example("i", (), turns), Example("j", (), (Turn("a", (" b ",)),))
    kept, same = without_reasoning((talk, plain), keep=True)
    assert kept.turns == (Turn("a", ("b",)), Turn("c", ("d", "e"), "<think>y</think>")) and same is plain
    dropped, _ = without_reasoning((talk, plain), keep=False)
    assert dropped.turns == (Turn("a", ("b",)), Turn("c", ("d", "e"))) and not dropped.thoughts
    assert repr(kept) != repr(dropped), "identities are digests of it"
    assert "thoughts" not in repr(dropped.turns), "and those of older runs stay"
    one = (plain,)
    assert without_reasoning(one, keep=True) is one


@pytest.mark.parametrize("prompt", ["{question}", "Look: {question}"])
@pytest.mark.parametrize("reasoning", ["keep", "drop", None])
def test_every_part_of_a_task_is_judged_without_it(desk: Desk, reasoning: str | None, prompt: str) -> None:
    rows = [row | {"answer": f"<think>I see {row['answer']}</think>{row['answer']}"} for row in records()]
    write_lines(desk.folder / "data.jsonl", rows)
    given = {} if reasoning is None else {"reasoning": reasoning}
    spec = TaskSpec.model_validate({"data": "data.jsonl", "test": 0.3, "prompt": prompt, **given})
    task = resolve_task(spec, base=desk.folder, seed=0).task
    answers = {str(row["id"]): row["answer"].split("</think>")[1] for row in rows}
    for part in (task.train, task.test):
        assert part
        for example in part:
            assert example.answers == (answers[example.id],)
            assert example.thoughts == ("" if reasoning == "drop" else f"<think>I see {answers[example.id]}</think>")


def test_the_default_is_dumped_as_before_there_was_a_choice() -> None:
    assert "reasoning" not in TaskSpec(data="x").model_dump()
    assert TaskSpec(data="x", reasoning="drop").model_dump()["reasoning"] == "drop"


def test_data_check_says_so(desk: Desk, tmp_path: Path) -> None:
    rows = [row | {"answer": f"<think>{'a' * 9}</think>{row['answer']}"} if n < 3 else row for n, row in
            enumerate(records())]  # fmt: skip
    write_lines(desk.folder / "data.jsonl", rows)
    said = desk.run("data", "check", desk.folder / "data.jsonl")
    assert said.code == 0
    assert f"3 of {len(rows)} answers begin with their own reasoning, 24 characters" in said.out.replace("\n", " ")
    assert "reasoning: drop" in said.out


def test_a_run_on_reasoning_is_asked_and_judged_item_by_item(desk: Desk) -> None:
    rows = [row | {"answer": f"<think>I see it</think>{row['answer']}"} if n % 4 else row for n, row in
            enumerate(records())]  # fmt: skip
    said = desk.tune_on(rows, evaluate={"max_new_tokens": 3})
    assert said.code == 2 and "so that no answer would be reached" in said.err and "reasoning: drop" in said.err
    said = desk.tune_on(rows, evaluate={"max_new_tokens": 40})
    assert said.code == 0, said.err
    asked = [json.loads(line) for line in (desk.folder / "run/predictions/data.jsonl").read_text("utf-8").splitlines()]
    assert asked and not any("think" in text for row in asked for text in (row["prediction"], *row["references"]))

"""Both forms of examples go through ``holdfast tune`` whole: several turns, several images, none at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.desk import Desk, changed, records


def conversation(index: int, images: list[str], turns: int = 1) -> dict[str, Any]:
    """A LLaVA item; its image marks stand in the first question."""
    talk = []
    for turn in range(turns):
        marks = "<image>\n" * len(images) if turn == 0 else ""
        talk += [{"from": "human", "value": f"{marks}what colour is it ? {turn}"}, {"from": "gpt", "value": "red"}]
    item: dict[str, Any] = {"id": index, "conversations": talk}
    return item | ({} if not images else {"image": images[0] if len(images) == 1 else images})


def mixed() -> list[dict[str, Any]]:
    """One image, two images, several turns and text alone, turn about."""
    kinds = [(["0.png"], 1), (["1.png", "2.png"], 1), ([], 1), (["3.png"], 3), ([], 2)]
    return [
        conversation(index, [f"{(int(name[0]) + index) % 12}.png" for name in images], turns)
        for index, (images, turns) in enumerate(kinds * 6)
    ]


@pytest.mark.parametrize("form", ["list", "lines"])
def test_conversations_of_every_kind(desk: Desk, form: str) -> None:
    rows = mixed()
    text = json.dumps(rows, indent=1) if form == "list" else "\n".join(map(json.dumps, rows))
    (desk.folder / "talk.json").write_text(text, encoding="utf-8")
    train = {"steps": 8, "batch_size": 5, "trackers": [], "evaluate_every": 4}
    said = desk.tune(config=desk.config(target={"data": "talk.json", "test": 0.3, "validation": 0.2}, train=train))
    assert said.code == 0, said.err
    assert desk.json("run/scores.json")["recipes"]["run"]["target"]["talk"]["n"] >= 3


def test_text_alone(desk: Desk) -> None:
    rows = [conversation(index, []) for index in range(20)]
    (desk.folder / "talk.json").write_text(json.dumps(rows), encoding="utf-8")
    said = desk.tune(config=desk.config(target={"data": "talk.json", "test": 0.3}))
    assert said.code == 0, said.err


def test_several_answers_and_special_tokens_in_the_text(desk: Desk) -> None:
    rows = [
        changed(row, answer=["red", row["answer"]], question="is </s> or <s> or <pad> a word ?") for row in records()
    ]
    said = desk.tune_on(rows, evaluate={"max_new_tokens": 3})
    assert said.code == 0, said.err
    asked = [json.loads(line) for line in (desk.folder / "run/predictions/data.jsonl").read_text("utf-8").splitlines()]
    assert all(row["references"][0] == "red" and len(row["references"]) == 2 for row in asked)


def test_a_recipe_that_trains_nothing_changes_nothing(desk: Desk) -> None:
    said = desk.tune(config=desk.config(tune={}, train={"steps": 0, "trackers": []}, sources=[
        {"data": "data.jsonl", "name": "source", "test": 0.5}]))  # fmt: skip
    assert said.code == 0, said.err
    entry = desk.json("run/scores.json")["recipes"]["run"]
    assert (entry["E"], entry["F"], entry["O"], entry["learned"], entry["forgot"]) == (0.0, 0.0, 0.0, 0, 0)
    files = [(desk.folder / place / "predictions/data.jsonl").read_bytes() for place in ("run", "run/base")]
    assert files[0] == files[1]


@pytest.mark.parametrize("prompt", ["{question} Answer with one word.", "Choose: {choices}. {question}"])
def test_prompts(desk: Desk, prompt: str) -> None:
    rows = [changed(row, choices=["red", "blue", "green"]) for row in records()]
    said = desk.tune_on(rows, target={"data": "data.jsonl", "prompt": prompt}, train={"steps": 1, "trackers": []})
    assert said.code == 0, said.err
    first = json.loads((desk.folder / "run/predictions/data.jsonl").read_text("utf-8").splitlines()[0])
    expected = prompt.replace("{question}", "what colour is it ?").replace("{choices}", "red, blue, green")
    assert first["question"] == expected

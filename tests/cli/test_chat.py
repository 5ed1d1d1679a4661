"""``holdfast chat`` and ``run.ask``: the answers of base and tuned model, from one set of weights where possible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast import api
from holdfast.data.examples import Example, Turn, image_key
from holdfast.inference.library import generate
from holdfast.models.loading import load_model
from holdfast.runs.two_models import TwoModels
from tests.support.desk import Desk

QUESTION = "what colour is it ?"


def answer(loaded: Any, picture: Path, limit: int = 6) -> str:
    images = (picture.resolve(),)
    example = Example("q", images, (Turn(QUESTION, ()),), image_key=image_key(images))
    return generate(loaded, [example], limit)[0][0]


@pytest.mark.parametrize("method", ["full", "lora", "adapter", "prefix"])
def test_base_and_tuned_answer_as_alone(desk: Desk, method: str) -> None:
    options: dict[str, Any] = {
        "full": {"lr": 0.02},
        "lora": {"r": 2, "lr": 0.05},
        "prefix": {"tokens": 2},
        "adapter": {"bottleneck": 4},
    }
    tune = {"llm": {"method": method, **options.get(method, {})}}
    assert desk.tune(config=desk.config(tune=tune)).code == 0
    run, picture = desk.folder / "run", desk.folder / "0.png"
    said = desk.run("chat", run, "--image", picture, "--once", QUESTION, "--max-new-tokens", "6", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["base"] == answer(load_model(str(desk.model), device="cpu"), picture)
    assert found["tuned"] == answer(api.load(run, device="cpu"), picture)
    pair = TwoModels(run, device="cpu")
    with pair.base() as base:
        bare = load_model(str(desk.model), device="cpu")
        batch = bare.chat.encode([Example("t", (), (Turn("why ?", ()),))], with_answers=False)
        with torch.no_grad():
            assert torch.equal(base.model(**batch).logits, bare.model(**batch).logits)
    asked = api.Run(run, {}).ask(str(picture), QUESTION, max_new_tokens=6)
    assert asked == found["tuned"]


def test_several_turns_pictures_and_commands(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.tune().code == 0
    lines = iter([f"{desk.folder / '0.png'} {QUESTION}", "and why ?", "/image nowhere.png", "/new", "hello ?", "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    said = desk.run("chat", desk.folder / "run", "--max-new-tokens", "3")
    assert said.code == 0, said.err
    assert said.out.count("base ") == said.out.count("tuned ") == 3
    assert "nowhere.png' does not exist" in said.out
    assert next(lines, None) is None
    monkeypatch.setattr("holdfast.inference.conversation.Conversation.ask", lambda *_, **__: " ")
    silent = desk.run("chat", desk.folder / "run", "--once", QUESTION)
    assert silent.out.count("(empty)") == 2  # as the page writes it, and no line that could be a fault


def test_bad_calls(desk: Desk) -> None:
    assert desk.tune().code == 0
    run = desk.folder / "run"
    desk.run("chat", desk.folder).refused("not a Holdfast run")
    desk.run("chat", run, "--json").refused("--json prints the answers to one question")
    desk.run("chat", run, "--once", " ").refused("the question is empty")
    desk.run("chat", run, "--once", "what ?", "--image", desk.folder / "none.png").refused("does not exist")

"""The short forms of commands, and what a finished run proposes next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import Desk, records, write_lines


def proposed(out: str) -> list[list[str]]:
    """The commands below ``Next:``."""
    lines = out.split("Next:")[1].split("\n")
    return [shlex.split(line) for line in lines if line.startswith("  holdfast ")]


def test_what_a_run_proposes_can_be_typed(desk: Desk) -> None:
    said = desk.tune(out="my run")
    assert said.code == 0, said.err
    other = write_lines(desk.folder / "other.jsonl", records(4))
    commands = proposed(said.out)
    assert [words[1] for words in commands] == ["compare", "compare", "eval", "export"]
    for words in commands:
        done = desk.run(*[str(other) if word == "FILE" else word for word in words[1:]])
        assert done.code == 0, f"{words}: {done.err}"
    assert (desk.folder / "my run-verdict" / "report.html").exists()
    assert (desk.folder / "my run-eval" / "scores.json").exists()
    assert (desk.folder / "my run-model" / "config.json").exists()


def test_what_cannot_be_merged_is_not_proposed(desk: Desk) -> None:
    said = desk.tune(config=desk.config(tune={"llm": {"method": "prefix"}}))
    assert said.code == 0, said.err
    assert "export" not in [words[1] for words in proposed(said.out)]


@pytest.fixture
def finished(desk: Desk) -> Path:
    """Something that looks like a finished run to ``compare``: predictions of both sides, and no model."""
    rows: list[dict[str, Any]] = [
        {"id": f"q{k}", "task": "t", "prediction": "a", "references": ["a"], "score": 1.0} for k in range(6)
    ]
    for place in ("base/predictions", "predictions"):
        (desk.folder / "study/run" / place).mkdir(parents=True)
        write_lines(desk.folder / "study/run" / place / "t.jsonl", rows)
        rows = [dict(row, prediction="b", score=0.0) for row in rows]
    return desk.folder / "study/run"


def test_compare_of_a_run_alone_is_that_with_its_base(desk: Desk, finished: Path) -> None:
    alone, both = desk.run("compare", finished, "--json"), desk.run("compare", finished / "base", finished, "--json")
    assert alone.code == 0 and alone.out == both.out
    assert '"forgot": 6' in alone.out


def test_compare_of_one_thing_that_is_no_run(desk: Desk, finished: Path) -> None:
    desk.run("compare", finished.parent).refused("one argument alone is a run folder", f"did you mean {finished}?")
    desk.run("compare", finished / "predictions/t.jsonl").refused("one argument alone", "BASE and TUNED")
    desk.run("compare", desk.folder / "nowhere").refused("no such run folder")
    (finished / "predictions/t.jsonl").unlink()
    desk.run("compare", finished).refused("no predictions of its tuned model", "holdfast tune")


def test_plan_takes_the_recipe_as_tune_does(desk: Desk) -> None:
    recipe = desk.config()
    short, long = desk.run("plan", recipe, "--json"), desk.run("plan", "--recipe", recipe, "--json")
    assert short.code == 0, short.err
    assert short.out == long.out
    assert desk.run("plan", recipe, "--set", "tune.llm.r=4", "--json").out != short.out
    for words in ([], [recipe, "--recipe", recipe], [recipe, "--method", "lora"]):
        desk.run("plan", *words).refused("one recipe or one method", "RECIPE.yaml")
    desk.run("plan", desk.folder / "nowhere.yaml").refused("nowhere.yaml")

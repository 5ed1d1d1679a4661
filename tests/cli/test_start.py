"""What a command imports before it answers, and what the small commands say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.main import COMMANDS
from tests.support.desk import Desk

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "numpy", "peft", "accelerate", "scipy", "sklearn", "matplotlib", "pydantic", "PIL"}


def imported(*words: str) -> tuple[int, set[str], str]:
    """Exit code, top-level modules and output of ``holdfast WORDS`` in a fresh interpreter."""
    program = (
        "import sys, json; from holdfast.cli.main import run; code = run(sys.argv[1:]);"
        "print(); print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "80"}
    made = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, encoding="utf-8", env=environment,
        check=True, cwd=ROOT,
    )  # fmt: skip
    *before, last = made.stdout.strip().split("\n")
    code, modules = json.loads(last)
    return code, set(modules), "\n".join(before) + made.stderr


def test_help_is_instant() -> None:
    code, modules, text = imported("--help")
    assert code == 0
    assert modules & HEAVY == set()
    for command, (_, about) in COMMANDS.items():
        assert f" {command} " in text
        assert about.split()[0] in text
    assert max(map(len, text.split("\n"))) <= 80


@pytest.mark.parametrize("words", [["--version"], ["tnue"], ["tune", "--help"], ["data", "--help"]])
def test_small_answers_load_nothing_heavy(words: list[str]) -> None:
    code, modules, _ = imported(*words)
    assert code == (2 if words == ["tnue"] else 0)
    assert modules & (HEAVY - {"pydantic"}) == set()


def test_import_holdfast_is_instant() -> None:
    program = "import holdfast, sys; print(holdfast.__version__, *sorted({n.partition('.')[0] for n in sys.modules}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert set(made.stdout.split()) & (HEAVY | {"typer", "rich", "yaml"}) == set()


def test_no_words_show_the_help(desk: Desk) -> None:
    said = desk.run()
    assert said.code in (0, 2)
    assert "Usage: holdfast" in said.out + said.err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(desk: Desk, command: str) -> None:
    said = desk.run(command, "--help")
    assert said.code == 0
    assert f"Usage: holdfast {command}" in said.out


def test_methods_as_json(desk: Desk) -> None:
    from holdfast.methods.registry import METHODS

    said = desk.run("methods", "--json")
    rows = json.loads(said.out)["methods"]
    assert said.code == 0
    fields = {"name", "paradigm", "family", "paper", "year", "mergeable", "provided_by"}
    assert all(fields <= set(row) for row in rows)
    assert {row["name"] for row in rows if row["kind"] == "method"} == set(METHODS.names())
    assert {row["kind"] for row in rows} == {"method", "stabiliser", "fusion"}
    assert {"selective", "additive", "reparameterization"} <= {row["paradigm"] for row in rows}
    table = desk.run("methods")
    assert table.code == 0
    assert all(row["name"] in table.out for row in rows)


def test_doctor_as_json(desk: Desk) -> None:
    import torch

    said = desk.run("doctor", "--json")
    found = json.loads(said.out)
    assert said.code == 0
    assert found["facts"]["torch"] == torch.__version__
    assert all(isinstance(line, str) and line.endswith(".") for line in found["advice"])
    assert desk.run("doctor").code == 0


def test_tune_in_a_process_of_its_own_refuses_in_one_sentence(desk: Desk) -> None:
    config = desk.config(tune={"llm": "lorra"})
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-m", "holdfast", "tune", str(config), "--out", str(desk.folder / "run")]
    made = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", env=environment, check=False)
    assert made.returncode == 2
    assert made.stderr.strip().split("\n")[0].startswith("holdfast: ")
    assert "Traceback" not in made.stderr
    assert "Did you mean 'lora'?" in " ".join(made.stderr.split())


def test_ctrl_c_says_how_to_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from holdfast import api

    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "evaluate", pressed)
    monkeypatch.setattr(api, "tune", pressed)
    for words in (["eval", "pocket", "--tasks", "pocket"], ["tune", str(desk.config())]):
        said = desk.run(*words)
        assert said.code == 130
        text = " ".join((said.out + said.err).split())
        assert text.count("the same command goes on where it stopped") == 1
        assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(("number", "words"), [("ENOSPC", "Make room"), ("EROFS", "Choose a place")])
def test_a_machine_that_refuses(desk: Desk, monkeypatch: pytest.MonkeyPatch, number: str, words: str) -> None:
    import errno

    from holdfast import api

    def full(*_: object, **__: object) -> None:
        raise OSError(getattr(errno, number), "no", "some/file")

    monkeypatch.setattr(api, "tune", full)
    desk.tune().refused("some/file: ", words)

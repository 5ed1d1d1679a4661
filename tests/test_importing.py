"""The garbage collector during imports: rare in a process of our own, as the user had it everywhere else."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from transformers import AutoModelForImageTextToText

from holdfast import importing
from holdfast.cli.main import main
from holdfast.models.loading import load_model


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """A process that other tests go on in."""
    yield
    importing.done()
    gc.unfreeze()


def test_what_was_imported_is_never_visited_again() -> None:
    usual = gc.get_threshold()
    importing.begin()
    importing.begin()
    assert gc.get_threshold()[0] == importing.RARELY
    mine: list[Any] = []
    mine.append(mine)
    importing.done()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > 0
    assert not any(one is mine for one in gc.get_objects())
    gc.unfreeze()
    assert any(one is mine for one in gc.get_objects())
    importing.done()
    assert gc.get_freeze_count() == 0


def test_a_program_of_the_user_keeps_its_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, seen = gc.get_threshold(), []
    original = gc.set_threshold
    monkeypatch.setattr(gc, "set_threshold", lambda *numbers: seen.append(numbers) or original(*numbers))
    load_model("pocket")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert (gc.get_threshold(), gc.get_freeze_count(), seen) == (usual, 0, [])


def test_weights_are_loaded_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, seen = gc.get_threshold(), []
    original = AutoModelForImageTextToText.from_pretrained

    def loading(*arguments: Any, **settings: Any) -> Any:
        seen.append(gc.get_threshold())
        return original(*arguments, **settings)

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", loading)
    importing.begin()
    load_model("pocket")
    assert seen == [usual]


def test_the_command_line_is_such_a_process() -> None:
    code = """
import atexit, gc, sys
sys.argv = ["holdfast", "methods"]
atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 100_000))
usual = gc.get_threshold()[0]
from holdfast.cli import main
original = main.run
def run(words):
    print(gc.get_threshold()[0] > usual)
    return original(words)
main.run = run
main.main()
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert (said[0], said[-1]) == ("True", f"{gc.get_threshold()[0]} True")

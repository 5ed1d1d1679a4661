"""A request to end that comes where Python makes something else of it: in imports, in exec, while it cleans up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast import stopping
from holdfast.cli import main
from holdfast.errors import HoldfastError
from holdfast.studies.attempt import attempt, failure_of


class _Asked:
    def __set_name__(self, owner: type, name: str) -> None:
        raise KeyboardInterrupt


def _in_an_import(*anything: Any) -> int:
    """As transformers and our loading pass on what Python makes of a signal's exception in a class body."""
    try:
        try:
            type("Endpoint", (), {"name": _Asked()})
        except RuntimeError as error:
            raise ModuleNotFoundError(f"Could not import module ({error})") from error
    except ModuleNotFoundError as error:
        raise HoldfastError(f"model 'pocket' cannot be loaded ({error})") from error
    return 0


def _plain(*anything: Any) -> int:
    raise ModuleNotFoundError("Could not import") from KeyboardInterrupt()


def _while_ending(*anything: Any) -> int:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise HoldfastError("the disk is full", remedy="make room") from None


@pytest.mark.parametrize("work", [_in_an_import, _plain])
def test_the_command_says_that_it_was_interrupted(
    work: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "_invoke", work)
    monkeypatch.setattr(stopping, "_received", [signal.SIGTERM])
    assert main.run(["tune"]) == stopping.TERMINATED
    assert capsys.readouterr().err == "\nholdfast: interrupted; the same command goes on where it stopped.\n"


def test_what_fails_while_a_run_is_ended_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main, "_invoke", _while_ending)
    assert main.run(["tune"]) == 2
    assert "the disk is full" in capsys.readouterr().err


@pytest.mark.parametrize("work", [_in_an_import, _plain])
def test_a_point_of_a_study_did_not_fail_by_it(work: Any, tmp_path: Path) -> None:
    from holdfast.studies.agenda import Job

    job = Job(key="k", want="scores", place="points/k", title="one", config={}, base="")
    with pytest.raises(KeyboardInterrupt):
        attempt(job, tmp_path, work, lambda event: None)
    assert failure_of(tmp_path, "k") is None


IN_EXEC = """
from holdfast.cli import main

def run(words):
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        return 143

main.run = run
main.main()
"""
CLEANING = """
import os, signal, time
from holdfast import stopping

class Held:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

stopping.raise_when_asked()
try:
    held = Held()
    del held
    time.sleep(30)
    print("went on")
except KeyboardInterrupt:
    print("asked", stopping.exit_code())
"""
ARRIVING = """
import os, sys, time
from holdfast import stopping

stopping.raise_when_asked()
try:
    import torch.inner
    time.sleep(30)
    print("went on")
except KeyboardInterrupt:
    print("asked", stopping.exit_code(), hasattr(sys.modules.get("torch.inner"), "whole"))
"""
TORCH = """
import os, signal
os.kill(os.getpid(), signal.SIGTERM)
for _ in range(1_000_000):
    pass
whole = True
"""


def _run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "mine.py").write_text(code, encoding="utf-8")
    return subprocess.run([sys.executable, "-m", "mine"], cwd=folder, capture_output=True, text=True, timeout=120)


def test_an_interruption_inside_an_exec_leaves_the_exit_code(tmp_path: Path) -> None:
    assert _run(IN_EXEC, tmp_path).returncode == stopping.TERMINATED


def test_a_request_that_comes_while_python_cleans_up_is_not_lost(tmp_path: Path) -> None:
    done = _run(CLEANING, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("asked 143\n", "", 0)


def test_a_request_that_comes_while_torch_is_imported_waits_until_it_is_there(tmp_path: Path) -> None:
    """Its native parts call Python while they begin, and an exception there aborts the process."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "torch" / "inner.py").write_text(TORCH, encoding="utf-8")
    done = _run(ARRIVING, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("asked 143 True\n", "", 0)

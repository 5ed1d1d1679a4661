"""Two at once: one works, the other waits or is told who it is; and a scheduler's signals end a run as Ctrl-C does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import api, files, stopping
from holdfast.errors import HoldfastError
from holdfast.runs.base import share_answers
from holdfast.runs.folder import RunFolder
from holdfast.training.log import cut_back
from tests.support.desk import Desk

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom holdfast.runs.folder import RunFolder\n"
    "with RunFolder(Path(sys.argv[1])).held():\n    print('held', flush=True)\n    time.sleep(600)\n"
)


@pytest.fixture
def desk(tmp_path: Path, tiny_llava: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, tiny_llava, capsys)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds ``tmp_path / "run"``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_on_a_run_folder_is_told_who_the_first_is(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    said = f"{tmp_path / 'run'}: this is in use by process {other.pid} on .* since 20"
    with pytest.raises(HoldfastError, match=said), RunFolder(tmp_path / "run").held():
        raise AssertionError
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(HoldfastError, match="is in use by process"), RunFolder(tmp_path / "link" / "run").held():
        raise AssertionError
    with RunFolder(tmp_path / "beside").held():
        pass


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    assert list((tmp_path / ".base" / "locks").glob("*.json"))  # it could not take its name off
    with RunFolder(tmp_path / "run").held():
        assert f"process {os.getpid()} " in files.locks.holder(tmp_path / ".base" / "locks" / "run.lock")
    with RunFolder(tmp_path / "run").held():
        pass


def test_the_command_says_so(desk: Desk) -> None:
    desk.config()
    with RunFolder(desk.folder / "run").held():
        desk.tune().refused("is in use by process", str(os.getpid()))
    assert not (desk.folder / "run").exists()


class Question:
    def __init__(self, name: str) -> None:
        self.id = name


class Asked:
    """As much of a task as matters here."""

    name = "colours"
    test = (Question("a"), Question("b"))


def answers(file: Path, count: int) -> None:
    rows = [{"id": name, "prediction": "red", "score": 1.0} for name in "ab"[:count]]
    files.write_lines(file, rows)


def test_of_two_runs_one_makes_the_answers_of_the_base_and_the_other_waits(tmp_path: Path) -> None:
    shared, made, waited = tmp_path / "shared.jsonl", [], threading.Event()
    begun = threading.Event()

    def make(file: Path) -> None:
        made.append(file)
        begun.set()
        assert waited.wait(60)  # until the other one has come and found the lock taken
        answers(file, 2)

    def first() -> None:
        share_answers(shared, tmp_path / "one", Asked(), make=make, wait=pytest.fail)  # type: ignore[arg-type]

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(60)
    share_answers(shared, tmp_path / "two", Asked(), make=make, wait=lambda who: waited.set())  # type: ignore[arg-type]
    thread.join()
    assert made == [shared]
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == shared.read_bytes()


@pytest.mark.parametrize("damage", ["missing", "cut", "twice", "garbage"])
def test_answers_of_the_base_that_are_damaged_are_made_anew(tmp_path: Path, damage: str) -> None:
    shared = tmp_path / "shared.jsonl"
    answers(shared, 2)
    whole = shared.read_bytes()
    shared.with_suffix(".done").touch()
    lines = whole.splitlines(keepends=True)
    content = {"missing": None, "cut": whole[:-9], "twice": whole + lines[0], "garbage": b"\xff\0" + whole}[damage]
    if content is None:
        shared.unlink()
    else:
        shared.write_bytes(content)

    def make(file: Path) -> None:
        if file.exists() and damage in ("twice", "garbage"):
            list(files.records(file))  # as the prediction file's own reader would
            raise HoldfastError("the id stands twice", file=file)
        answers(file, 2)

    share_answers(shared, tmp_path / "own", Asked(), make=make, wait=pytest.fail)  # type: ignore[arg-type]
    assert (tmp_path / "own").read_bytes() == shared.read_bytes() == whole


def test_eight_threads_take_one_lock_in_turn(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with files.locked(tmp_path / "lock", what="it", wait=lambda who: None):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


# Damage ------------------------------------------------------------------------------------------------------------


def test_a_cut_log_heals(tmp_path: Path) -> None:
    log = tmp_path / "train.jsonl"
    good = [b'{"step": 1, "loss": NaN}\n', b'{"event": "validation", "step": 2}\n']
    bad = [b'{"step": 1, "lo\n', b"[1]\n", b"\xff\n", b'{"step": 3}\n', b'{"step": 2']
    log.write_bytes(good[0] + b"".join(bad[:4]) + good[1] + bad[4])
    cut_back(log, 2)
    assert log.read_bytes() == b"".join(good)


@pytest.mark.parametrize("content", ["[]", "{}", "", "{", "5"])
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("scores.json", ["recipes"]),
        ("begun.json", ["base_identity", "tasks"]),
        ("ledger.json", ["trainable"]),
        ("training.json", ["seconds"]),
    ],
)
def test_a_damaged_file_of_a_run_says_what_to_delete(tmp_path: Path, name: str, keys: list[str], content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"is damaged .* delete|is damaged .* Delete") as caught:
        RunFolder(tmp_path).read_json(name, *keys)
    assert caught.value.file == str(tmp_path / name)


def test_a_finished_run_whose_scores_or_ledger_are_lost_makes_them_again(desk: Desk) -> None:
    recipe, run = desk.config(), desk.folder / "run"
    api.tune(recipe, run)

    def scores() -> dict[str, Any]:
        found: dict[str, Any] = json.loads((run / "scores.json").read_text(encoding="utf-8"))
        return found

    before, ledger = scores(), (run / "ledger.json").read_bytes()
    (run / "scores.json").write_text("[]", encoding="utf-8")
    desk.tune().refused("scores.json", "is damaged", "delete this file")
    for name in ("scores.json", "ledger.json"):
        (run / name).unlink()
    api.tune(recipe, run)
    assert scores() == before
    assert json.loads((run / "ledger.json").read_bytes()) == json.loads(ledger)


# Signals ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Handlers as they were, afterwards; what was received is forgotten."""
    monkeypatch.setattr(stopping, "_received", [])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *stopping.ASKED)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)], ids=lambda n: str(n)
)
def test_a_signal_lets_the_piece_in_hand_finish(quiet: None, number: int, code: int) -> None:
    with stopping.noted() as asked:
        assert not asked()
        signal.raise_signal(number)
        assert asked()  # and this line was reached
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)  # a second one does not wait
    assert stopping.exit_code() == code


def test_outside_of_a_step_a_signal_stops_at_once(quiet: None) -> None:
    stopping.raise_when_asked()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert stopping.exit_code() == 143

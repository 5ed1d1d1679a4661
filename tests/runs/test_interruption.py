"""Ctrl-C, kill -9 and a kill in the middle of evaluation: the same command ends in the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import api
from holdfast.events import Event, FinishedBefore, PicturesChecked, Predicted, Resumed
from tests.support.desk import Desk, snapshot
from tests.support.stopping import Stop, stop_after

ROOT = Path(__file__).resolve().parents[2]
STEPS = 60


pytestmark = pytest.mark.usefixtures("one_thread")  # as many as in the processes started below


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_llava: Path) -> Desk:
    """A desk with an uninterrupted run in ``plain/run``: dropout, momentum, weight decay, clipping and validation."""
    desk = Desk(tmp_path_factory.mktemp("desk"), tiny_llava, None)  # type: ignore[arg-type]
    desk.config(
        tune={"connector": {"method": "full", "lr": 1e-3}, "llm": {"method": "lora", "r": 2, "lr": 1e-2}},
        train={"steps": STEPS, "batch_size": 2, "accumulate": 2, "weight_decay": 0.01, "trackers": [], "log_every": 1,
               "evaluate_every": 50, "checkpoint_every": 20},
    )  # fmt: skip
    api.tune(desk.folder / "recipe.yaml", desk.folder / "plain" / "run")
    return desk


def start(desk: Desk, out: str) -> subprocess.Popen[str]:
    """``python -m holdfast tune`` as a process of its own."""
    words = [sys.executable, "-m", "holdfast", "tune", "recipe.yaml", "--out", out]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        words, cwd=desk.folder, env=environment, text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(process: subprocess.Popen[str], seen: Callable[[], bool]) -> None:
    """Until ``seen``, or a failure if the process ends first."""
    limit = time.monotonic() + 120
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)


def goes_on(desk: Desk, run: Path) -> None:
    """Give the same call again and check that it resumed."""
    heard: list[Event] = []
    api.tune(desk.folder / "recipe.yaml", run, listen=heard.append)
    assert sum(isinstance(event, Resumed) for event in heard) == 1


def logged(run: Path) -> int:
    """The last step in the log."""
    log = run / "train.jsonl"
    return 0 if not log.exists() else log.read_text("utf-8").count('"loss"')


def result(run: Path) -> dict[str, Any]:
    """Everything that a run leaves but clocks."""
    files = snapshot(run)
    kept = {name: digest for name, digest in files.items() if name.startswith(("artifact/", "base/", "predictions/"))}
    scores = json.loads((run / "scores.json").read_text("utf-8"))["recipes"]["run"]
    del scores["seconds"]
    rows = [json.loads(row) for row in (run / "train.jsonl").read_text("utf-8").splitlines()]
    return {"files": kept, "scores": scores, "log": [{k: v for k, v in row.items() if k != "seconds"} for row in rows]}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"])
def test_a_signal_leaves_a_run_that_goes_on(plain: Desk, number: int, code: int) -> None:
    run = plain.folder / f"one-{number:d}" / "run"
    process = start(plain, f"one-{number:d}/run")
    wait_for(process, lambda: logged(run) >= 5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in out + err
    assert "Interrupted" in out
    assert "the same command goes on where it stopped" in out
    assert json.loads((run / "checkpoint/progress.json").read_text("utf-8"))["step"] < STEPS
    goes_on(plain, run)
    assert result(run) == result(plain.folder / "plain" / "run")


def test_kill_9_in_training(plain: Desk) -> None:
    run = plain.folder / "two" / "run"
    process = start(plain, "two/run")
    wait_for(process, lambda: (run / "checkpoint/progress.json").exists() and logged(run) >= 23)
    process.kill()
    process.communicate()
    assert not (run / "artifact").exists()
    goes_on(plain, run)
    assert result(run) == result(plain.folder / "plain" / "run")


def test_a_kill_before_the_first_checkpoint_begins_anew(plain: Desk) -> None:
    run = plain.folder / "three" / "run"
    with pytest.raises(Stop):
        api.tune(plain.folder / "recipe.yaml", run, listen=stop_after(7))
    assert logged(run) == 7 or logged(run) == 6
    api.tune(plain.folder / "recipe.yaml", run)
    assert result(run) == result(plain.folder / "plain" / "run")


@pytest.mark.parametrize("part", ["base", "tuned"])
def test_a_kill_in_evaluation_asks_only_what_is_open(plain: Desk, part: str) -> None:
    done = plain.folder / "plain" / "run"
    run = plain.folder / f"four-{part}" / "run"
    api.tune(plain.folder / "recipe.yaml", run)
    (run / "scores.json").unlink()
    if part == "tuned":
        file = run / "predictions" / "data.jsonl"
    else:
        (run / "base/predictions/data.jsonl").unlink()
        (file,) = (run.parent / ".base").rglob("*.jsonl")
        file.with_suffix(".done").unlink()
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) >= 2
    file.write_bytes(lines[0] + lines[1][:20])  # one item is answered, the next one half written
    asked: list[tuple[str, int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Predicted):
            asked.append((event.who, event.count))

    api.tune(plain.folder / "recipe.yaml", run, listen=listen)
    assert asked[0] == ("base" if part == "base" else "tuned", 1)  # found there already
    assert result(run) == result(done)


def test_a_finished_run_is_left_alone(plain: Desk) -> None:
    run = plain.folder / "plain" / "run"
    before = snapshot(run)
    heard: list[Event] = []
    api.tune(plain.folder / "recipe.yaml", run, listen=heard.append)
    assert [event for event in heard if not isinstance(event, PicturesChecked)] == [FinishedBefore(run)]
    assert snapshot(run) == before

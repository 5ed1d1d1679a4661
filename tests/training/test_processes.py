"""Several processes at one run give what one gives, end together, and leave a run that any number can go on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from holdfast import api
from holdfast.cli.main import run as command
from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.launch import check_asked
from holdfast.methods.recipe import Recipe
from holdfast.ranks import ALONE, STARTED, LostProcessError, Ranks, let_others_speak
from holdfast.speed.division import shares
from holdfast.training.alike import still_alike
from tests.support.desk import Desk, records, write_lines
from tests.support.together import RECIPES, ROOT, by_two, environment, losses, meeting, shown

SAME = 1e-6
"""Relative; gradients are added in another order."""

JUMPS = {"prograd": 1e-3}
"""A rule that asks for the sign of a sum takes another way where that sum is rounding."""


@pytest.fixture(scope="module")
def curves(tiny_llava: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """What two processes make of every recipe."""
    out = tmp_path_factory.mktemp("curves") / "two.json"
    by_two(tiny_llava, out)
    found: dict[str, list[float]] = json.loads(out.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_two_processes_have_the_losses_of_one(curves: dict[str, list[float]], tiny_llava: Path, recipe: str) -> None:
    alone = losses(tiny_llava, RECIPES[recipe])
    assert alone[-1] < alone[0]
    assert curves[recipe] == pytest.approx(alone, rel=JUMPS.get(recipe, SAME))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12])
def test_shares_hold_every_example_once_and_weigh_alike(count: int) -> None:
    examples = shown()
    found = shares(examples, count, image=4)
    assert len(found) == count
    assert sorted(example.id for share in found for example in share) == sorted(example.id for example in examples)
    assert all(share == sorted(share, key=examples.index) and share for share in found)

    def work(share: list[Any]) -> float:
        pictures = len({example.image_key for example in share if example.images})
        return 4 * pictures + 0.3 * sum(len(e.question) + len(e.answers[0]) for e in share)

    largest = max(work([example]) for example in examples)
    assert max(map(work, found)) <= sum(map(work, found)) / count + largest + 8


def test_questions_about_one_image_stay_together_unless_they_are_more_than_a_share() -> None:
    examples = [example for example in shown() if example.images]
    places = [{example.image_key for example in share} for share in shares(examples, 2, image=100)]
    assert not places[0] & places[1]
    one_picture = [example for example in examples if example.image_key == examples[0].image_key]
    assert sorted(map(len, shares(one_picture, 2, image=100))) == [1, 2]


def test_one_process_asks_nobody() -> None:
    assert Ranks(0, 1) == ALONE
    assert ALONE.same("x") == "x"
    assert ALONE.all("x") == ["x"]
    assert ALONE.total(0.1, 3) == [0.1, 3]
    ALONE.wait()


def test_processes_that_have_come_to_other_values_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Second(Ranks):
        factor = 1.0

        def same(self, value: Any) -> Any:
            return {name: norm * self.factor for name, norm in value.items()}

    recipe = Recipe(load_config({"tune": {"llm": "full"}}))
    monkeypatch.setattr(Recipe, "named_trainable", lambda self: {"llm/w": torch.nn.Parameter(torch.ones(4))})
    monkeypatch.setattr("holdfast.training.alike.here", lambda: Second(1, 2))
    still_alike(recipe)
    monkeypatch.setattr(Second, "factor", 1.01)
    with pytest.raises(HoldfastError, match=r"process 1 has trained 'llm/w' to other values than process 0 \(full\)"):
        still_alike(recipe)


def test_an_engine_that_takes_weights_apart_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_MEGATRON_LM", "true")
    with pytest.raises(HoldfastError, match=r"Megatron-LM, which takes weights apart.*load.bits: 4"):
        check_asked()


@pytest.mark.parametrize("words", [["eval", "pocket", "--tasks", "pocket:color", "--out", "x"], ["demo"]])
def test_commands_of_one_process_are_not_done_by_several(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert command(words) == 2
    assert f"holdfast {words[0]} was started in several processes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "started", "speaks"), [(True, True, False), (True, False, True), (False, True, True)]
)
def test_who_speaks_of_a_process_that_was_killed(
    asked: bool, started: bool, speaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request to end may come before the step that it lets finish has found the other gone: then nobody waits, and
    what started the processes speaks alone.
    """
    waited: list[float] = []
    monkeypatch.setattr("holdfast.ranks.time.sleep", waited.append)
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", STARTED: "1" if started else None}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    with nullcontext() if speaks else pytest.raises(SystemExit):
        let_others_speak(LostProcessError("another process of this run has ended"), asked=asked)
    assert (sum(waited) == 0) is asked


@pytest.fixture
def desk(tmp_path: Path, tiny_llava: Path) -> Desk:
    return Desk(tmp_path, tiny_llava, None)  # type: ignore[arg-type]


def tune(recipe: Path, out: Path, *words: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "-m", "holdfast", "tune", str(recipe), "--out", str(out), *words]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=recipe.parent
    )


def curve(run: Path) -> list[float]:
    lines = map(json.loads, (run / "train.jsonl").read_text(encoding="utf-8").splitlines())
    return [line["loss"] for line in lines if "tokens" in line]


LONG = {"steps": 150, "batch_size": 4, "trackers": [], "log_every": 1, "checkpoint_every": 5}
TUNE = {"llm": {"method": "lora", "r": 2, "alpha": 2, "dropout": 0.0, "lr": 1e-3}}


FSDP = ("-m", "accelerate.commands.launch", "--config_file", str(ROOT / "examples" / "accelerate" / "fsdp2.yaml"))


def killed(started: subprocess.Popen[str], log: Path) -> str:
    """What is said when the second of two processes was killed behind step 12."""
    while started.poll() is None and not (log.exists() and len(log.read_bytes().splitlines()) > 12):
        time.sleep(0.05)
    assert started.poll() is None, started.communicate()
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    second = next(int(child) for child in children if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes())
    os.kill(second, signal.SIGKILL)
    return started.communicate(timeout=120)[1]  # nobody waits for the one that is gone


def test_a_killed_process_ends_the_others_and_one_alone_goes_on(desk: Desk) -> None:
    recipe = desk.config(tune=TUNE, train=LONG)
    run = desk.folder / "run"
    started = tune(recipe, run, "--processes", "2")
    said = killed(started, run / "train.jsonl")
    assert started.returncode == 2
    assert said.count("holdfast: ") == 1, said
    assert "process 1 of 2 was ended by SIGKILL" in said
    assert "Traceback" not in said
    assert len(curve(run)) < 150
    for out in ("run", "whole"):
        api.tune(recipe, desk.folder / out)
    assert len(curve(run)) == 150
    assert curve(run) == pytest.approx(curve(desk.folder / "whole"), rel=1e-5)


def test_a_killed_process_ends_the_other_that_divides_weights_with_it_and_two_go_on(desk: Desk) -> None:
    recipe = desk.config(tune=TUNE, train=LONG)
    run = desk.folder / "run"
    said = killed(tune(recipe, run, launcher=FSDP), run / "train.jsonl")
    assert said.count("holdfast: ") == 1, said
    assert "another process of this run has ended" in said and "the same command goes on where it stopped" in said
    before = len(curve(run))
    assert before < 150
    again = tune(recipe, run, launcher=FSDP)
    said = again.communicate()[1]
    assert again.returncode == 0, said
    api.tune(recipe, desk.folder / "whole")
    assert len(curve(run)) == 150
    assert curve(run) == pytest.approx(curve(desk.folder / "whole"), rel=1e-5)
    tuned = [load_file(next((desk.folder / name / "artifact").rglob("*.safetensors"))) for name in ("run", "whole")]
    for name, tensor in tuned[0].items():
        torch.testing.assert_close(tuned[1][name], tensor, rtol=1e-3, atol=1e-5)


def test_two_processes_answer_a_task_as_one_does(desk: Desk) -> None:
    recipe = desk.config(tune=TUNE, train={**LONG, "steps": 3}, target={"data": "data.jsonl", "test": 0.5})
    ended = tune(recipe, desk.folder / "two", "--processes", "2")
    assert ended.wait() == 0, ended.communicate()
    api.tune(recipe, desk.folder / "one")
    for place in ("predictions", "base/predictions"):
        one, two = ((desk.folder / out / place / "data.jsonl").read_text(encoding="utf-8") for out in ("one", "two"))
        assert one == two
    assert not (desk.folder / "two" / "predictions" / ".shares").exists()
    # What two processes had answered when they were ended, one in the middle of a line, is taken up by one.
    left = desk.folder / "two" / "predictions" / ".shares" / "data"
    left.mkdir(parents=True)
    (desk.folder / "two" / "scores.json").unlink()
    answers = desk.folder / "two" / "predictions" / "data.jsonl"
    lines = answers.read_text(encoding="utf-8").splitlines(keepends=True)
    answers.write_text(lines[3], encoding="utf-8")
    (left / "0.jsonl").write_text(lines[2] + lines[0], encoding="utf-8")
    (left / "1.jsonl").write_text(lines[1] + lines[5][:30], encoding="utf-8")
    api.tune(recipe, desk.folder / "two")
    again = answers.read_text(encoding="utf-8").splitlines(keepends=True)
    assert again[:4] == lines[:4]
    assert sorted(again) == sorted(lines)
    figures = [next(iter(desk.json(f"{out}/scores.json")["recipes"].values()))["target"] for out in ("one", "two")]
    assert figures[0] == figures[1]


def test_a_mistake_that_all_processes_meet_is_said_once(desk: Desk) -> None:
    recipe = desk.config(tune={"llm": {"method": "lora", "r": 999}})
    ended = tune(recipe, desk.folder / "wrong", "--processes", "2")
    _, said = ended.communicate()
    assert ended.returncode == 2
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("holdfast: ") and "rank 999" in lines[0], said


@pytest.mark.parametrize("differs", ["recipe", "data"])
def test_a_process_with_other_data_or_another_recipe_says_so(desk: Desk, differs: str) -> None:
    other = desk.folder / "other"
    other.mkdir()
    beside = Desk(other, desk.model, None)  # type: ignore[arg-type]
    rows = records()
    write_lines(beside.data, [*rows[:-1], {**rows[-1], "answer": "violet"}] if differs == "data" else rows)
    places = [desk.config(), beside.config(**({"seed": 5} if differs == "recipe" else {}))]
    common = meeting()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "holdfast", "tune", str(recipe), "--out", str(desk.folder / "run")],
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **common),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, recipe in enumerate(places)
    ]
    second = started[1].communicate()[1]
    started[0].kill()  # as whoever started them would
    started[0].communicate()
    assert started[1].returncode == 2
    recipe, data = "process 1 has another recipe than process 0", "the questions or answers of 'data' differ"
    assert second.count("holdfast: ") == 1
    assert {"recipe": recipe, "data": data}[differs] in second

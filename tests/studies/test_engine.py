"""The engine on made-up points: nothing is done twice or out of order, whatever is killed, and the end is the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.events import Event, Listener, LoadingModel, PointEnded, StudyMoved
from holdfast.results.points import read_results
from holdfast.studies.agenda import Job, Planner
from holdfast.studies.crew import Processes, serve
from holdfast.studies.engine import Engine
from holdfast.studies.status import status_of
from holdfast.studies.studyfile import read_study_file
from tests.support.studying import GRID, Alone, Dies, Leaves, MadeUp, made, write

ROOT = Path(__file__).resolve().parents[2]


def run(file: Path, folder: Path, **options: Any) -> list[Event]:
    """A study in this process; what was heard."""
    heard: list[Event] = []
    work = Engine(read_study_file(file), folder, listen=heard.append, **options)
    work.run(Alone(folder, heard.append, MadeUp))
    return heard


def left(folder: Path) -> dict[str, str]:
    """What must not depend on how often a study was disturbed."""
    names = ("study.json", "scores.json", "validation.json", "artifact.json")
    found = {
        str(file.relative_to(folder)): file.read_text("utf-8") for file in folder.rglob("*.json") if file.name in names
    }
    lines = (folder / "results.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return found | {"index": json.dumps(sorted((row["key"], row["scores"]["E"]) for row in rows))}


def test_choices_are_made_on_validation_and_their_trainings_used(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    heard = run(write(tmp_path / "s.yaml"), folder)
    results = read_results(folder)
    assert len(results.finished) == 12 and results.axes == {
        "method": ("lora", "ia3", "soft", "softer"),
        "seed": ("1", "2", "3"),
    }
    # The made-up loss rises with the rate for lora and falls with it for all others.
    assert {row["for"]["method"]: row["level"] for row in results.selected["lr"]} == {
        "lora": "0.001",
        "ia3": "0.01",
        "soft": "0.01",
        "softer": "0.01",
    }
    done = made(folder)
    wants = sorted(want for log in done.values() for want in log)
    # 12 points; 8 candidates; full tuning at both rates with seed 1, and at the chosen one with seeds 2 and 3.
    assert wants == ["artifact"] * 4 + ["scores"] * 12 + ["validation"] * 8
    assert sum(log == ["validation", "scores"] for log in done.values()) == 4  # the chosen candidates are points
    ended = [event for event in heard if isinstance(event, PointEnded)]
    assert len(ended) == 24 and all(event.reason is None for event in ended)
    last = [event for event in heard if isinstance(event, StudyMoved)][-1]
    assert (last.points, last.finished, last.failed, last.candidates, last.seconds_left) == (12, 12, 0, (8, 8), 0.0)


def test_candidates_may_be_shorter_than_points(tmp_path: Path) -> None:
    rates = {**GRID["select"]["lr"], "set": {"train": {"steps": 2}}}
    axes = {"method": {"lora": {"tune": {"llm": "lora"}}}, "seed": [1, 2]}
    planner = Planner(read_study_file(write(tmp_path / "s.yaml", axes=axes, select={"lr": rates})))
    agenda = planner.agenda(lambda key: {"loss": 1.0, "exact": 1.0, "sources": {}})
    steps = sorted((want, job.config["train"]["steps"]) for (_, want), job in agenda.jobs.items())
    assert steps == [("scores", 3)] * 2 + [("validation", 2)] * 2
    assert [row["set"] for row in agenda.selected["lr"]] == [{"train": {"steps": 2}}]


@pytest.mark.parametrize(
    ("select", "candidates"), [({"per": ["method"]}, 1 + 5), ({"per": ["method"], "start": 0.003}, 1 + 4), ({}, 1 + 5)]
)
def test_what_reads_no_rate_is_trained_once(tmp_path: Path, select: dict[str, Any], candidates: int) -> None:
    """AutoPrompt has no rate: five levels are one training, also where a level is chosen for it and LoRA together."""
    rates = {"levels": [0.001, 0.002, 0.003, 0.004, 0.005], "with": {"seed": 1}, **select}
    axes = {"method": {"words": {"tune": {"llm": "autoprompt"}}, "lora": {"tune": {"llm": "lora"}}}, "seed": [1, 2]}
    folder = tmp_path / "out"
    run(write(tmp_path / "s.yaml", axes=axes, select={"lr": rates}), folder)
    assert sum("validation" in log for log in made(folder).values()) == candidates
    points = {(point.levels["method"], point.levels["seed"]): point for point in read_results(folder).finished}
    assert len(points) == 4
    words = {seed: made(folder)[str(points["words", seed].folder.relative_to(folder))] for seed in "12"}
    assert words == {"1": ["validation", "scores"], "2": ["scores"]}  # its candidate is the point
    said = [line for line in status_of(folder).chosen if "trained once" in line]
    assert [line.split(":")[0] for line in said] == (["lr of words"] if select else [])


def test_nothing_is_done_twice_when_the_study_grows(tmp_path: Path) -> None:
    folder, file = tmp_path / "out", tmp_path / "s.yaml"
    run(write(file, select=None), folder)
    before = made(folder)
    run(write(file, select=None, axes={"seed": [4, 2], "train.steps": [3]}, title="Other"), folder)
    after = made(folder)
    assert {place: log for place, log in after.items() if place in before} == before
    assert len(after) - len(before) == 2  # without a method both are new
    run(write(file, select=None), folder)
    assert made(folder) == after
    assert len(read_results(folder).finished) == 12


def test_a_failing_point_is_written_down_and_tried_again_when_asked(tmp_path: Path) -> None:
    folder, file = tmp_path / "out", tmp_path / "s.yaml"
    axes = {
        "train.steps": [1, 13, 2],
        "tune": {"full": {"tune": {"llm": "full"}}},
        "fuse": {"no": {}, "half": "wise_ft"},
    }
    run(write(file, select=None, axes=axes), folder)
    results = read_results(folder)
    assert [point.state for point in results.points] == ["finished"] * 2 + ["failed"] * 2 + ["finished"] * 2
    assert [point.reason for point in results.failed] == [
        "thirteen steps are refused. Take another number.",
        "the training that it edits failed: thirteen steps are refused. Take another number.",
    ]
    before = made(folder)
    run(file, folder)
    assert made(folder) == before
    run(file, folder, retry=True)
    again = made(folder)
    assert sum(map(len, again.values())) == sum(map(len, before.values())) + 1
    found = status_of(folder)
    assert (found.points, found.finished, found.waiting) == (6, 4, 0)
    assert sum(map(len, found.failed.values())) == 2


def test_a_choice_among_candidates_that_all_fail(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    select = {"train.steps": {"levels": {"unlucky": {"train": {"steps": 13}}}, "per": ["method"], "with": {"seed": 1}}}
    common = {"model": "pocket", "target": "pocket:digits"}
    axes = {"method": {"ia3": {"tune": {"llm": {"method": "ia3", "lr": 0.1}}}}, "seed": [1, 2]}
    run(write(tmp_path / "s.yaml", select=select, common=common, axes=axes), folder)
    failed = read_results(folder).failed
    assert len(failed) == 2
    assert all("no candidate for train.steps could be measured: thirteen" in (point.reason or "") for point in failed)


def test_parts_share_the_work_and_leave_one_result(tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", select=None)
    whole, folder = tmp_path / "whole", tmp_path / "parts"
    run(file, whole)
    sizes = []
    for number in (1, 2, 3):
        before = len(made(folder))
        run(file, folder, part=(number, 3))
        sizes.append(len(made(folder)) - before)
    assert left(folder) == left(whole)
    assert all(sizes) and sum(sizes) == len(made(whole))
    assert all(len(log) == 1 for log in made(folder).values())


def test_a_process_that_holds_a_point_is_waited_for(tmp_path: Path) -> None:
    """Two studies at once in one folder: each point is done once, and both end with all of them."""
    file, folder = write(tmp_path / "s.yaml"), tmp_path / "out"
    words = [sys.executable, "-m", "tests.support.studying", str(file), str(folder), "1"]
    both = [subprocess.Popen(words, cwd=ROOT, env=_environment()) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert len(read_results(folder).finished) == 12
    assert sorted(want for log in made(folder).values() for want in log).count("scores") == 12
    assert sum(map(len, made(folder).values())) == 24


def test_a_worker_that_dies_is_replaced_and_its_point_tried_once_more(tmp_path: Path) -> None:
    file, folder = write(tmp_path / "s.yaml", select=None), tmp_path / "out"
    (tmp_path / "once").touch()
    work = Engine(read_study_file(file), folder)
    work.run(Processes(folder, 2, threads=1, performer=Dies))
    assert len(read_results(folder).finished) == 12
    (tmp_path / "once").unlink()
    other = tmp_path / "other"
    work = Engine(read_study_file(file), other)
    work.run(Processes(other, 1, threads=1, performer=Dies))
    failed = read_results(other).failed
    assert {point.levels["method"] for point in failed} == {"ia3"} and len(failed) == 3
    assert "its process was ended by SIGKILL, 2 times" in (failed[0].reason or "")


class Full(MadeUp):
    """The disk is full."""

    def __call__(self, *arguments: Any) -> None:
        raise HoldfastError("this cannot be written: the disk is full", kind="full")


def test_a_full_disk_ends_the_study_and_no_point_fails(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    work = Engine(read_study_file(write(tmp_path / "s.yaml")), folder)
    with pytest.raises(HoldfastError, match="the disk is full"):
        work.run(Alone(folder, lambda event: None, Full))
    work = Engine(read_study_file(tmp_path / "s.yaml"), folder)
    with pytest.raises(HoldfastError, match="the disk is full"):
        work.run(Processes(folder, 1, threads=1, performer=Full))
    assert not (folder / "failed").exists()


def test_what_is_derived_can_be_lost_or_cut(tmp_path: Path) -> None:
    file, folder = write(tmp_path / "s.yaml"), tmp_path / "out"
    run(file, folder)
    expected = left(folder)
    (folder / "study.json").write_text("{", encoding="utf-8")
    index = folder / "results.jsonl"
    index.write_bytes(index.read_bytes()[:-40])
    run(file, folder)
    assert left(folder) == expected
    index.unlink()
    candidate = next(folder.rglob("validation.json"))
    candidate.write_text("{}", encoding="utf-8")
    run(file, folder)
    assert left(folder) == expected


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "thesis.txt").touch()
    with pytest.raises(HoldfastError, match="this exists and is not a study"):
        Engine(read_study_file(write(tmp_path / "s.yaml")), folder).plan()


def test_a_worker_that_is_told_to_end_while_it_leaves_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    file = write(tmp_path / "s.yaml", axes={"seed": [1]}, select=None)
    engine = Engine(read_study_file(file), folder)
    engine.run(Processes(folder, 1, threads=1, performer=Leaves))
    assert len(list(folder.glob("points/*/scores.json"))) == 1
    assert capfd.readouterr().err == ""


def test_a_study_that_is_gone_is_no_fault_of_the_point(tmp_path: Path) -> None:
    folder, (here, there) = tmp_path / "out", Pipe()
    engine = Engine(read_study_file(write(tmp_path / "s.yaml", axes={"seed": [1]}, select=None)), folder)
    (job,) = engine.plan().jobs.values()

    def perform(job: Job, folder: Path, listen: Listener) -> None:
        here.close()
        listen(LoadingModel("pocket"))

    here.send(job)
    with pytest.raises(KeyboardInterrupt):
        serve(0, there, folder, lambda: perform)
    assert not (folder / "failed").exists()


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals as on POSIX")
def test_killed_at_thirty_moments_the_end_is_the_same(tmp_path: Path) -> None:
    file, folder, whole = write(tmp_path / "s.yaml"), tmp_path / "out", tmp_path / "whole"
    run(file, whole)
    chance = random.Random(7)
    words = [sys.executable, "-m", "tests.support.studying", str(file), str(folder), "2"]
    kills = ends = 0
    while kills < 30:
        process = subprocess.Popen(words, cwd=ROOT, env=_environment())
        try:  # from before the first file to well into the points
            assert process.wait(timeout=chance.uniform(0.2, 1.6)) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM if kills % 4 == 0 else signal.SIGKILL)
            # CPython ends by SIGINT where the interruption came inside exec() of text, as in making a dataclass.
            assert process.wait(timeout=60) in (-signal.SIGKILL, 143, -signal.SIGTERM, -signal.SIGINT)
            kills += 1
            continue
        ends += 1
        _same_and_gone(folder, whole)
    subprocess.run(words, cwd=ROOT, env=_environment(), check=True, timeout=120)
    _same_and_gone(folder, whole)


def _same_and_gone(folder: Path, whole: Path) -> None:
    """What many kills left is what none leaves; then begin anew."""
    _wait_for_nobody(folder)
    assert left(folder) == left(whole)
    for place, log in made(folder).items():  # one job a kind, and those again that were killed on the way
        assert set(log) == set(made(whole)[place])
    shutil.rmtree(folder)


def _wait_for_nobody(folder: Path) -> None:
    """Workers of killed studies end by themselves."""
    for lock in (folder / ".locks").glob("*.lock"):
        with files.locked(lock, what="", wait=lambda holder: None, named=False):
            pass


def test_configurations_are_checked_once(tmp_path: Path) -> None:
    """Planning again, as after every choice, checks nothing anew: 5,000 points would take minutes."""
    planner = Planner(read_study_file(write(tmp_path / "s.yaml", select=None)))
    first = planner.agenda(lambda key: None)
    checked = dict(planner._checked)
    second = planner.agenda(lambda key: None)
    assert planner._checked == checked and [p.key for p in first.points] == [p.key for p in second.points]

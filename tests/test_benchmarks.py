"""The speed benchmarks at toy size: every arm that needs no peer package runs, and all arms compute the same."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import math
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
OUTSIDE = ("benchmarks", "scripts", "studies", "examples")
SCRIPTS = (
    "training",
    "evaluation",
    "memory",
    "scaling",
    "planning",
    "auto",
    "filling",
    "gpu",
    "selective_memory",
    "startup",
    "start",
    "loading",
)
TINY = {"tower": "tiny", "image": 28, "layers": 2, "width": 64, "vocabulary": 64}
POCKET = {"model": "pocket"}


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts find each other as they do when they run by themselves; the threads are given back."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    torch.set_num_threads(threads)


def script(name: str) -> Any:
    return importlib.import_module(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_is_measured(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as stopped:
        script(name).main()
    said = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "--rounds" in said and "--json" in said
    assert f"python benchmarks/{name}.py" in (script(name).__doc__ or "")


def test_what_scripts_take_from_the_package_is_there() -> None:
    """Scripts that no test runs would otherwise notice a move only when somebody wants their figures."""
    missing = []
    for file in sorted(file for folder in OUTSIDE for file in (FOLDER.parent / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "holdfast":
                module = importlib.import_module(str(node.module))
                there = {
                    *vars(module),
                    *(found.name for found in pkgutil.iter_modules(getattr(module, "__path__", ()))),
                }
                missing += [f"{file.name}: {node.module}.{name.name}" for name in node.names if name.name not in there]
    assert not missing


@pytest.mark.parametrize("shape", [TINY, POCKET], ids=["llava", "pocket"])
def test_training_arms_do_the_same(shape: dict[str, Any]) -> None:
    training = script("training")
    task = {"questions": 2, "images": 2, "images_per_batch": 1, "epochs": 2, "threads": 1, "shape": shape}
    found = {arm: training.run_arm({**task, "arm": arm}) for arm in ("trainer", "ours", "ours_off")}
    training.check([found])
    assert {len(one["gaps"]) for one in found.values()} == {4}
    text = training.as_text({"settings": task, "arms": training.summarise([found])})
    assert "ours_off" in text and "/ trainer" in text


def test_training_refuses_arms_that_differ() -> None:
    training = script("training")
    same = {"loss": 1.0, "supervised": 9, "warm_supervised": 3}
    training.check([{"a": same, "b": same | {"loss": 1.00001}}])
    for change in ({"loss": 1.001}, {"supervised": 8}, {"warm_supervised": 4}):
        with pytest.raises(SystemExit, match="b:"):
            training.check([{"a": same, "b": same | change}])


@pytest.mark.parametrize("shape", [TINY, POCKET], ids=["llava", "pocket"])
def test_evaluation_arms_answer_alike(shape: dict[str, Any]) -> None:
    evaluation = script("evaluation")
    task = {"questions": 3, "images": 2, "max_new_tokens": 3, "big": 6, "threads": 1, "shape": shape}
    found = {arm: evaluation.run_arm({**task, "arm": arm}) for arm in evaluation.GENERATING}
    evaluation.check([found])
    assert all(len(one["answers"]) == 6 for one in found.values())
    found["big"]["answers"] = dict.fromkeys(found["one"]["answers"], "something else")
    with pytest.raises(SystemExit, match="big answers 6 of 6"):
        evaluation.check([found])


def test_options_are_scored_as_rows() -> None:
    evaluation = script("evaluation")
    task = {"questions": 2, "images": 1, "max_new_tokens": 3, "big": 2, "threads": 1, "shape": TINY}
    found = evaluation.run_arm({**task, "arm": "options_loop"})
    assert set(found["answers"].values()) <= {"yes", "no"} and len(found["answers"]) == 2


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_memory_arms_compute_the_same() -> None:
    memory = script("memory")
    task = {"questions": 2, "answer_tokens": 5, "threads": 1, "shape": TINY}
    found = {arm: memory.run_arm({**task, "arm": arm}) for arm in ("plain", "ours")}
    memory.check([found])
    assert found["plain"]["supervised"] == 2 * (5 + 1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_planning_holds_the_same_step_against_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    planning = script("planning")
    monkeypatch.setitem(planning.SHAPES, "base", (TINY, "lora", {**planning.LORA, "r": 4}, 2))
    task = {"threads": 1, "arm": "base"}
    timed, held = (planning.run_arm({**task, "what": what}) for what in ("time", "memory"))
    assert timed["operations"] == held["operations"] > 0
    assert timed["seconds"] > 0
    assert held["planned_peak"] == sum(value for part, value in held["parts"].items() if part != "peak")


def test_scaling_measures_beside_a_floor() -> None:
    scaling = script("scaling")
    task = {"questions": 2, "images": 2, "threads": 1, "matrix": 64, "shape": TINY}
    found = {arm: scaling.run_arm({**task, "arm": arm}) for arm in scaling.ARMS}
    assert found["plain"]["operations"] == found["ours"]["operations"] > 0
    assert found["plain"]["supervised"] == found["ours"]["supervised"]


def test_auto_is_held_against_everything_off() -> None:
    auto = script("auto")
    task = {"threads": 1, "rounds": 1, "head": "full", "point": (2, 4, "small", 2, 4), "shape": TINY}
    found = auto.run_point(task)
    assert found["ratio"] > 0
    assert "'on': True" in found["engaged"]["share_images"]
    row = {"point": [2, 4, "small", 2, 4], **found}
    text = auto.as_text({"shapes": [row], "worst": row})
    assert "share_images" in text
    assert "worst: " in text


def test_packed_rows_are_held_against_padded_ones() -> None:
    filling = script("filling")
    task = {"batch": 4, "steps": 2, "median": 20, "spread": 1.0, "threads": 1, "rounds": 1, "shape": TINY}
    found = filling.summarise(filling.run_arms(task))
    assert found["padding"] > 0.1
    assert "'on': True" in found["arms"]["on"]["packing"]
    assert "'on': False" in found["arms"]["padded"]["packing"]


def test_floor_counts_what_a_pencil_counts() -> None:
    floors, setting = script("floors"), script("setting")
    shape = setting.Shape(tower="tiny", image=28, layers=3, width=64, vocabulary=100)
    parts = floors.count(shape, [7, 9], 5, prefix=6, trained="all", encoder=False)
    inner = 64 * 8 // 3
    matrices = 3 * (4 * 64 * 64 + 3 * 64 * inner)
    assert parts["llm"] == pytest.approx(3 * 2 * matrices * (6 + 7 + 9), rel=0.05)  # nobody wants the first input's
    pairs = 21 + (7 * 6 + 28) + (9 * 6 + 45)
    assert parts["attention"] == 4 * 64 * pairs * 3 * 3
    assert parts["head"] == 4 * 64 * 100 * 5
    frozen = floors.count(shape, [7, 9], 5, prefix=6, trained="last2", encoder=False)
    assert frozen["llm"] < parts["llm"]
    assert math.isclose(parts["total"], sum(value for name, value in parts.items() if name != "total"))
    seen = floors.count(shape, [7, 9], 5, prefix=6)["encoder"]
    assert seen > 2 * 4 * 3 * 14 * 14 * 32  # more than the patches alone


def test_gpu_runs_on_a_toy_and_refuses_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    gpu = script("gpu")
    task = {"questions": 2, "images": 1, "images_per_batch": 1, "epochs": 1, "threads": 1, "matrix": 64}
    task["shape"] = vars(gpu.replace(gpu.TINY, device="cpu", image=28))
    found = {arm: gpu.run_arm({**task, "arm": arm}) for arm in ("layers:ours_plain", "random_mask:ours")}
    assert gpu.check([found], 0.05) == []
    other = {**found["random_mask:ours"], "loss": 9}
    assert "the loss of step 1 is 9" in gpu.check([{**found, "lora:ours": other}], 1)[0]
    assert "random_mask:ours" in gpu.as_text({"arms": gpu.summarise([found])})
    with pytest.raises(SystemExit) as stopped:
        gpu.require("cpu", tiny=False)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.strip().split("\n")) == 1


@pytest.mark.parametrize("arm", ["memory:bits4", "packing:on", "chat:stream", "ask:alone"])
def test_other_parts_of_gpu_run_on_a_toy(arm: str) -> None:
    gpu = script("gpu")
    if arm == "memory:bits4":
        pytest.importorskip("bitsandbytes")
    task = {"questions": 2, "images": 1, "images_per_batch": 1, "epochs": 1, "threads": 1, "matrix": 64}
    found = gpu.run_arm({**task, "shape": vars(gpu.replace(gpu.TINY, device="cpu", image=28)), "arm": arm})
    assert all(value > 0 for value in found.values() if isinstance(value, float))
    assert json.loads(json.dumps(found)) == found


def test_gpu_keeps_each_arm_at_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, calls = script("gpu"), list[str]()

    def measured(script: str, task: Any, **how: Any) -> dict[str, Any]:
        calls.append(task["arm"])
        if task["arm"] == "memory:bits4" and calls.count("memory:bits4") == 1:
            raise SystemExit("memory:bits4 failed:\nout of it")
        written = (tmp_path / "gpu.jsonl").read_text("utf-8").count("\n") if len(calls) > 1 else 0
        assert written == len(calls) - 1, "what came before is kept already"
        return {"peak": 4.0 if task["arm"] == "memory:bits4" else 10.0, "step": 1.0, "loss": 2.0}

    monkeypatch.setattr(gpu, "spawn", measured)
    words = ["--tiny", "--device", "cpu", "--methods", "memory", "--out", str(tmp_path / "gpu.jsonl"), "--json"]

    def run(*more: str) -> Any:
        output = io.StringIO()
        monkeypatch.setattr(sys, "argv", ["gpu.py", *words, *more])
        with contextlib.redirect_stdout(output):
            gpu.main()
        return json.loads(output.getvalue())

    report = run("--minutes", "0")
    assert calls == [] and report["missing"] == ["memory:bits4", "memory:bits16"]
    report = run()
    assert calls == ["memory:bits4", "memory:bits16"] and report["missing"] == ["memory:bits4"]
    assert "memory:bits4 failed" in report["doubts"][0] and report["goals"] == []
    with (tmp_path / "gpu.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"settings": "cut')
    report = run()
    assert calls[2:] == ["memory:bits4"], "what is there is not measured again"
    (goal,) = report["goals"]
    assert goal["value"] == pytest.approx(0.4) and goal["met"] and not report["missing"] and not report["doubts"]
    run("--questions", "3")
    assert calls[3:] == ["memory:bits4", "memory:bits16"], "other settings are other figures"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are forked on Linux only")
def test_loading_prepares_the_same_and_counts_every_step() -> None:
    loading = script("loading")
    grid = {"workers": [0, 1], "step": [0.02], "side": [20], "batch": 2, "images": 4, "steps": 3}
    task = {**grid, "threads": 1, "shape": TINY}
    found = {arm: loading.run_arm({**task, "arm": arm}) for arm in loading.ARMS}
    loading.check([found])
    rows = loading.summarise([found])
    assert [row["workers"] for row in rows] == [0, 1]
    assert rows[0]["ours_waiting"] * 0.02 >= rows[0]["ours_preparing"], "without workers a step waits for all of it"
    assert not rows[0]["ours_memory"] and rows[1]["ours_memory"] > 0
    assert "cells marked *" in loading.as_text({"settings": grid, "cells": rows})
    side = found["trainer"]["made"]["20"]
    for change in ([side[0] + 1, side[1]], [side[0], side[1] * 1.001]):
        other = {**found["trainer"], "made": {"20": change}}
        with pytest.raises(SystemExit, match="trainer:"):
            loading.check([{"ours": found["ours"], "trainer": other}])


def test_rounds_are_paired_and_begin_with_another_arm() -> None:
    common = script("common")
    order: list[str] = []

    def run(arm: str) -> dict[str, float]:
        order.append(arm)
        return {"seconds": {"a": 2.0, "b": 1.0}[arm] * len(order)}

    rounds = common.play(2, ("a", "b"), run)
    assert order == ["a", "b", "b", "a"]
    assert common.ratio(rounds, "a", "b", "seconds") == pytest.approx((2 / 2 + 8 / 3) / 2)


def test_starting_ends_where_it_says(tmp_path: Path) -> None:
    """``tune`` ends with its first step, ``compare`` with a verdict, and what fails is not timed."""
    startup = script("startup")
    for name, period in (("base", 3), ("tuned", 4)):
        startup.write_predictions(tmp_path / f"{name}.jsonl", 12, period)
    (tmp_path / "recipe.json").write_text(json.dumps(startup.RECIPE), encoding="utf-8")
    found = {arm: startup.run_arm(arm, tmp_path, 1) for arm in ("help", "compare", "tune", "json")}
    assert all(one["seconds"] > 0 for one in found.values())
    assert "mine" in (tmp_path / "compare.txt").read_text(encoding="utf-8")
    assert not (tmp_path / "run").exists()
    (tmp_path / "recipe.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match="tune failed"):
        startup.run_arm("tune", tmp_path, 1)

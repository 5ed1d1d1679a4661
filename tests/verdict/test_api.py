"""The first law: a recipe that changes nothing scores exactly nothing; and the public functions agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import holdfast
from holdfast.events import Event, LeaksFound, LedgerWritten


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of two colours with a question each, as a user would bring them."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    with (folder / "mine.jsonl").open("w", encoding="utf-8") as stream:
        for index in range(40):
            colour = np.array([(220, 30, 30), (30, 30, 220)][index % 2])
            pixels = (colour + random.integers(-20, 20, (20, 24, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
            record = {"image": f"{index}.png", "question": "what colour ?", "answer": ["red", "blue"][index % 2]}
            stream.write(json.dumps(record) + "\n")
    (folder / "other.jsonl").write_text((folder / "mine.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def config(model: Path, data: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": str(model),
        "target": {"data": str(data / "mine.jsonl"), "test": 0.3},
        "sources": [str(data / "other.jsonl")],
        "train": {"steps": 0, "batch_size": 4, "trackers": []},
        "evaluate": {"max_new_tokens": 4},
        **more,
    }


@pytest.mark.parametrize("tune", [{}, {"llm": {"method": "lora", "r": 4}}, {"llm": "magnitude_mask"}])
def test_a_recipe_that_changes_nothing_scores_zero(
    tune: dict[str, Any], tiny_llava: Path, data: Path, tmp_path: Path
) -> None:
    run = holdfast.tune(config(tiny_llava, data, tune=tune), tmp_path / "run")
    assert (run.scores["E"], run.scores["F"], run.scores["O"]) == (0.0, 0.0, 0.0)
    assert (run.scores["learned"], run.scores["forgot"]) == (0, 0)
    comparison = holdfast.compare(tmp_path / "run" / "base", tmp_path / "run")
    assert comparison.to_json()["E"] == 0.0
    for task in comparison.to_json()["tasks"].values():
        assert task["p_value"] == 1.0 and task["learned"] == task["forgot"] == 0


def test_scores_json_holds_what_the_readme_promises(tiny_llava: Path, data: Path, tmp_path: Path) -> None:
    settings = config(tiny_llava, data, tune={"llm": {"method": "lora", "r": 4, "lr": 1e-2}}, name="mine")
    settings["train"] = {"steps": 3, "batch_size": 4}
    run = holdfast.tune(settings, tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    assert saved["recipes"]["mine"] == run.scores
    keys = {
        "method", "paradigm", "trainable", "trainable_percent", "target", "sources", "E", "F", "O", "H", "learned",
        "forgot", "seconds", "memory", "seed", "versions",
    }  # fmt: skip
    assert keys <= run.scores.keys()
    assert run.scores["method"] == "lora on llm" and run.scores["paradigm"] == "reparameterization"
    target, source = run.scores["target"]["mine"], run.scores["sources"]["other"]
    assert {"before", "after", "n"} <= target.keys() & source.keys()
    assert run.scores["E"] == pytest.approx(target["after"] - target["before"])
    assert source["before"] == 0  # a model of random weights knows nothing that it could forget
    assert run.scores["F"] is None and run.scores["left_out"]["F"] == ["other"]
    assert run.scores["leaks"] == [] and run.scores["still_learning"] is None
    for name in ("config.yaml", "environment.json", "ledger.json", "train.jsonl", "artifact/artifact.json"):
        assert (tmp_path / "run" / name).exists(), name
    assert list((tmp_path / "run" / "logs").rglob("events.out.tfevents*"))
    assert not (tmp_path / "run" / "checkpoint").exists()
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text(encoding="utf-8"))
    inside = json.loads((tmp_path / "run" / "artifact" / "artifact.json").read_text(encoding="utf-8"))["ledger"]
    assert ledger == inside and ledger["trainable"] == run.scores["trainable"]


def test_a_leak_is_told_before_step_1_and_on_the_scorecard(tiny_llava: Path, data: Path, tmp_path: Path) -> None:
    lines = (data / "mine.jsonl").read_text(encoding="utf-8").splitlines()
    copies = [json.loads(line) | {"image": f"copy {number}.png"} for number, line in enumerate(lines)]
    for number in range(len(copies)):
        shutil.copy(data / f"{number}.png", tmp_path / f"copy {number}.png")
    (tmp_path / "copied.jsonl").write_text("".join(json.dumps(row) + "\n" for row in copies), encoding="utf-8")
    heard: list[Event] = []
    settings = config(tiny_llava, data, sources=[{"data": str(tmp_path / "copied.jsonl"), "test": 0.5}])
    run = holdfast.tune(settings, tmp_path / "run", listen=heard.append)
    (leak,) = run.scores["leaks"]
    assert leak["task"] == "copied" and leak["pictures"] == leak["questions"] > 0
    (told,) = (event for event in heard if isinstance(event, LeaksFound))
    assert told.sentences == [leak["sentence"]]
    places = [heard.index(told), next(i for i, event in enumerate(heard) if isinstance(event, LedgerWritten))]
    assert places == sorted(places)


def test_base_predictions_are_made_once_for_all_runs(tiny_llava: Path, data: Path, tmp_path: Path) -> None:
    holdfast.tune(config(tiny_llava, data), tmp_path / "a")
    shared = sorted((tmp_path / ".base").rglob("*.jsonl"))
    stamps = [file.stat().st_mtime_ns for file in shared]
    holdfast.tune(config(tiny_llava, data, seed=0, name="other"), tmp_path / "b")
    assert sorted((tmp_path / ".base").rglob("*.jsonl")) == shared
    assert [file.stat().st_mtime_ns for file in shared] == stamps


def test_a_loaded_run_answers_as_the_run_did(tiny_llava: Path, data: Path, tmp_path: Path) -> None:
    settings = config(tiny_llava, data, tune={"llm": {"method": "full", "lr": 3e-2}})
    settings["train"] = {"steps": 8, "batch_size": 8, "trackers": []}
    holdfast.tune(settings, tmp_path / "run")
    scores = holdfast.evaluate(tmp_path / "run", [str(data / "mine.jsonl")], tmp_path / "eval", max_new_tokens=4)
    rows = (tmp_path / "eval" / "predictions" / "mine.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {(r := json.loads(row))["id"]: r["prediction"] for row in rows}
    assert scores["mine"].n == len(answers) == 40
    for row in (tmp_path / "run" / "predictions" / "mine.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(row)
        assert answers[record["id"]] == record["prediction"]


def test_answers_do_not_depend_on_the_batch_size(tiny_llava: Path, data: Path, tmp_path: Path) -> None:
    texts = []
    for size in (1, 7, 40):
        out = tmp_path / str(size)
        holdfast.evaluate(tiny_llava, [str(data / "mine.jsonl")], out, batch_size=size, max_new_tokens=6)
        texts.append((out / "predictions" / "mine.jsonl").read_text(encoding="utf-8"))
    assert texts[0] == texts[1] == texts[2]

"""A training that is looked at: it ends in the same bits, and each moment is the run that ends there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast import api
from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.events import Event, Predicted
from holdfast.runs.during import moments_of
from tests.support.desk import Desk, records, snapshot, write_lines
from tests.support.stopping import Stop, stop_after

METHODS: dict[str, dict[str, Any]] = {
    "lora": {
        "llm": {"method": "lora", "r": 2, "lr": 3e-2, "dropout": 0.2},
        "connector": {"method": "full", "lr": 1e-2},
    },
    "spider": {"llm": {"method": "spider", "lr": 1e-2}},
    "adapter": {"llm": {"method": "adapter", "bottleneck": 4, "lr": 3e-2}},  # does not begin at the base
}


pytestmark = pytest.mark.usefixtures("one_thread")


class Looking:
    """A desk whose trainings do not depend on how long they are: no warmup, a constant rate."""

    def __init__(self, folder: Path, model: Path, tune: Any) -> None:
        self.desk = Desk(folder, model, None)  # type: ignore[arg-type]
        write_lines(folder / "other.jsonl", [row | {"id": f"o{row['id']}", "answer": "red"} for row in records()])
        self.tune, self.folder = tune, folder

    def __call__(self, out: str, *, steps: int = 6, during: Any = None, listen: Any = None, **train: Any) -> Path:
        file = self.desk.config(
            f"{out}.yaml",
            tune=self.tune,
            keep=[{"stabiliser": "replay", "ratio": 0.5}],
            sources=["other.jsonl"],
            train={"steps": steps, "batch_size": 2, "schedule": "constant", "warmup": 0, "trackers": []}
            | {"log_every": 1, "evaluate_every": 3, "weight_decay": 0.01, **train},
            evaluate={"max_new_tokens": 2, "during": during},
        )
        api.tune(file, self.folder / out, overrides=["name=run"], **({} if listen is None else {"listen": listen}))
        return self.folder / out


@pytest.fixture(scope="module", params=list(METHODS))
def looking(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_llava: Path) -> Looking:
    return Looking(tmp_path_factory.mktemp("looking"), tiny_llava, METHODS[request.param])


def scores(run: Path) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads((run / "scores.json").read_text("utf-8"))["recipes"]["run"]
    return {name: value for name, value in entry.items() if name not in ("seconds", "during_seconds")}


def bits(run: Path) -> dict[str, str]:
    return {n: d for n, d in snapshot(run).items() if n.startswith(("artifact/", "base/", "predictions/", "start/"))}


def losses(run: Path) -> list[Any]:
    rows = [json.loads(row) for row in (run / "train.jsonl").read_text("utf-8").splitlines()]
    return [(row["step"], row["loss"]) for row in rows]


def test_a_training_that_is_looked_at_ends_in_the_same_bits(looking: Looking) -> None:
    """And what it was at step 4 answers as the run of four steps does, byte for byte."""
    plain, looked, short = looking("plain"), looking("looked", during=2), looking("short", steps=4)
    assert bits(looked) == bits(plain) and losses(looked) == losses(plain)
    found = scores(looked)
    rows = found.pop("during")
    assert found == scores(plain)
    assert [row["step"] for row in rows] == [0, 2, 4, 6]
    answers = snapshot(short / "predictions")
    assert answers and snapshot(looked / "during" / "4" / "predictions") == answers
    ended = scores(short)
    for name in ("E", "F", "O", "H", "intervals", "learned", "forgot"):
        assert rows[2][name] == ended[name] and rows[3][name] == found[name]
    assert rows[2]["target"] == {"data": ended["target"]["data"]["after"]}
    start = found.get("start", {letter: None if found[letter] is None else 0.0 for letter in "EF"})
    assert (rows[0]["E"], rows[0]["F"]) == (start["E"], start["F"])
    assert not list(looked.glob("during/*/checkpoint")) and not (looked / "checkpoint").exists()
    assert json.loads((looked / "scores.json").read_text("utf-8"))["recipes"]["run"]["during_seconds"] > 0


def test_killed_while_it_trains_or_answers_it_ends_the_same_way(looking: Looking) -> None:
    whole = looking("whole", during=2, checkpoint_every=3)

    def answering(event: Event) -> None:
        if isinstance(event, Predicted) and event.who == "step 4":
            raise Stop

    for listen in (stop_after(5), answering):
        with pytest.raises(Stop):
            looking("again", during=2, checkpoint_every=3, listen=listen)
    again = looking("again", during=2, checkpoint_every=3)
    assert scores(again) == scores(whole) and bits(again) == bits(whole)
    assert snapshot(again / "during" / "2" / "predictions") == snapshot(whole / "during" / "2" / "predictions")


@pytest.mark.parametrize(
    ("during", "train", "steps"),
    [
        (None, {"steps": 10}, ()),
        (4, {"steps": 10}, (4, 8)),
        (5, {"steps": 10}, (5,)),
        (20, {"steps": 10}, ()),
        ([7, 2, 7, 10], {"steps": 10}, (2, 7)),
        ("epoch", {"epochs": 3, "batch_size": 4}, (3, 5)),  # 10 examples: a pass ends within the third step
        ("epoch", {"epochs": 2.5, "batch_size": 2}, (5, 10)),
        ("epoch", {"steps": 5, "batch_size": 2, "accumulate": 2}, (3,)),
        ("epoch", {"steps": 1, "batch_size": 2}, ()),
        ([5], {"steps": 0}, ()),
        ("epoch", {"steps": 0}, ()),
    ],
)
def test_moments_by_hand(during: Any, train: Any, steps: tuple[int, ...]) -> None:
    config = load_config({"target": "pocket:digits", "train": train, "evaluate": {"during": during}})
    assert moments_of(config, 10) == steps


def test_a_step_behind_the_end_is_refused() -> None:
    config = load_config({"target": "pocket:digits", "train": {"steps": 10}, "evaluate": {"during": [5, 11]}})
    with pytest.raises(HoldfastError, match="names step 11, and training ends with step 10"):
        moments_of(config, 10)


@pytest.mark.parametrize("wrong", [0, -3, 2.5, True, "epochs", [], [3, "x"]])
def test_what_is_no_moment_is_refused_in_one_sentence(wrong: Any) -> None:
    with pytest.raises(HoldfastError, match="a number of steps, a list of steps, or epoch"):
        load_config({"target": "pocket:digits", "evaluate": {"during": wrong}})


def test_a_fusion_has_no_moments(tmp_path: Path) -> None:
    raw = {"target": "pocket:digits", "tune": {"llm": {"method": "full"}}, "fuse": "wise_ft"}
    with pytest.raises(HoldfastError, match="a fusion edits what that ends in"):
        api.tune(raw | {"evaluate": {"during": 2}}, tmp_path / "run")

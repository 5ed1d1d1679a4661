"""``mix``, weights and data sets of Hugging Face go through ``holdfast tune`` whole."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from holdfast.training.loop import Trainer
from tests.support.desk import Desk, records, write_lines


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The examples that a run trains on."""
    found: list[Any] = []
    real = Trainer.__init__

    def noted(self: Trainer, loaded: Any, recipe: Any, train: Any, examples: Any, *args: Any, **more: Any) -> None:
        found.extend(examples)
        real(self, loaded, recipe, train, examples, *args, **more)

    monkeypatch.setattr(Trainer, "__init__", noted)
    return found


def test_mixed_sets_are_trained_on_at_their_weights_and_never_asked(desk: Desk, seen: list[Any]) -> None:
    write_lines(desk.folder / "more.jsonl", [{**row, "id": f"m{at}"} for at, row in enumerate(records(4))])
    said = desk.tune(config=desk.config(mix=[{"data": "more.jsonl", "weight": 2.5}]))
    assert said.code == 0, said.err
    counts = Counter(example.id for example in seen if example.id.startswith("m"))
    assert sorted(counts.values()) == [2, 2, 3, 3]
    assert any(not example.id.startswith("m") for example in seen)
    assert list(desk.json("run/scores.json")["recipes"]["run"]["sources"]) == []
    assert "more" in desk.json("run/begun.json")["tasks"]
    write_lines(desk.folder / "more.jsonl", [{**row, "id": f"n{at}"} for at, row in enumerate(records(4))])
    (desk.folder / "run" / "scores.json").unlink()
    said = desk.tune(config=desk.config(mix=[{"data": "more.jsonl", "weight": 2.5}]))
    assert said.code == 2 and "'more' have changed since the run began" in said.err


def test_a_source_has_no_weight(desk: Desk) -> None:
    write_lines(desk.folder / "a.jsonl", records(4))
    said = desk.tune(config=desk.config(sources=[{"data": "a.jsonl", "weight": 2.0}]))
    assert said.code == 2 and "line 16: a source is not trained on" in said.err, said.err


def test_a_data_set_is_tuned_on(desk: Desk) -> None:
    datasets = pytest.importorskip("datasets")
    rows = records()
    images = [{"bytes": (desk.folder / row["image"]).read_bytes(), "path": None} for row in rows]
    columns = {"image": images, "question": [r["question"] for r in rows], "answer": [r["answer"] for r in rows]}
    text = datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "question": text, "answer": text})
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(desk.folder / "set"))
    said = desk.tune(config=desk.config(target={"data": "set", "test": 0.3}))
    assert said.code == 0, said.err
    before = Path(desk.folder / "run" / "scores.json").read_text(encoding="utf-8")
    assert desk.tune(config=desk.config(target={"data": "set", "test": 0.3})).code == 0
    assert json.loads(before) == desk.json("run/scores.json")


def test_a_data_set_is_checked(desk: Desk) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [None, None], "question": ["q", "r"], "answer": ["x", ""]}
    datasets.DatasetDict(
        {"train": datasets.Dataset.from_dict(rows), "dev": datasets.Dataset.from_dict(rows)}
    ).save_to_disk(str(desk.folder / "set"))
    said = desk.run("data", "check", str(desk.folder / "set"), "--split", "dev")
    assert said.code == 2 and "item row-2: field 'answer' is empty" in said.out and "1 good examples" in said.out
    said = desk.run("data", "check", str(desk.folder / "data.jsonl"), "--split", "dev")
    assert said.code == 2 and "--split" in said.err

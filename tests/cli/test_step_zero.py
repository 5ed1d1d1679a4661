"""A method that does not begin at the base says what attaching it alone did; the others say nothing."""

from __future__ import annotations

import json

import pytest

from tests.support.desk import Desk


@pytest.mark.parametrize(
    ("llm", "elsewhere"),
    [({"method": "prefix", "tokens": 4}, True), ({"method": "lora", "r": 2}, False)],
    ids=["prefix", "lora"],
)
def test_what_attaching_alone_did_is_reported(llm: dict[str, object], elsewhere: bool, desk: Desk) -> None:
    said = desk.tune(config=desk.config(tune={"llm": llm}, train={"steps": 1, "batch_size": 4, "trackers": []}))
    assert said.code == 0, said.err
    entry = json.loads((desk.folder / "run/scores.json").read_text("utf-8"))["recipes"]["run"]
    assert ("start" in entry) == elsewhere
    made = desk.folder / "run/start/predictions/data.jsonl"
    assert made.exists() == elsewhere
    if elsewhere:
        assert set(entry["start"]) == {"E", "F"}
        rows = [json.loads(line) for line in made.read_text("utf-8").splitlines()]
        assert entry["start"]["E"] == pytest.approx(
            100 * sum(row["score"] for row in rows) / len(rows) - entry["target"]["data"]["before"]
        )

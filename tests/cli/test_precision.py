"""A run in bfloat16 goes through whole, the check that the base was put back included."""

from __future__ import annotations

from tests.support.desk import Desk


def test_bfloat16_on_a_processor(desk: Desk) -> None:
    train = {"steps": 4, "batch_size": 4, "precision": "bf16", "trackers": []}
    said = desk.tune(config=desk.config(train=train))
    assert said.code == 0, said.err
    assert desk.json("run/environment.json")["engaged"]["precision"] == "bf16"

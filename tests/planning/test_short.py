"""A run says before step 1 that a step may not fit, with ways out, and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast.config.schema import RunConfig
from holdfast.events import Event, MemoryShort
from holdfast.planning import short
from holdfast.planning.plan import make_plan

SETTINGS = {
    "model": "pocket",
    "target": {"data": "pocket:digits", "limit": 8, "test_limit": 2},
    "tune": {"llm": {"method": "full"}},
    "train": {"steps": 1, "batch_size": 4, "trackers": []},
}


def heard(folder: Path) -> list[MemoryShort]:
    events: list[Event] = []
    run = holdfast.tune(SETTINGS, folder, listen=events.append)
    assert run.scores["target"]
    return [event for event in events if isinstance(event, MemoryShort)]


def test_the_plan_is_held_against_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peak = make_plan(RunConfig.model_validate(SETTINGS), precision="fp32").memory.peak
    monkeypatch.setattr(short, "memory_of", lambda device: peak - 1)
    (told,) = heard(tmp_path / "short")
    assert (told.need, told.has, told.device) == (peak, peak - 1, "cpu")
    assert len(told.ways) == 3
    words = told.sentence()
    assert "train.batch_size=2 with train.accumulate=2" in words and "train.gradient_checkpointing=true" in words
    assert "tune.llm.method=lora" in words
    for enough in (peak, None):
        monkeypatch.setattr(short, "memory_of", lambda device, enough=enough: enough)
        assert not heard(tmp_path / f"enough-{enough}")

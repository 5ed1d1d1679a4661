"""A run says before step 1 that a step may not fit, with ways out, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import holdfast
from holdfast.config.schema import RunConfig
from holdfast.data.examples import Example, Turn
from holdfast.events import Event, MemoryShort
from holdfast.models.loading import Loaded
from holdfast.planning import short
from holdfast.planning.plan import make_plan
from holdfast.planning.workload import make_workload, with_rows
from holdfast.runs.lengths import longest_row
from tests.support.questions import questions

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
    # Rows of pocket digits have 26 tokens, 16 of them of the image and the last three an answer with its space and end.
    memory = make_plan(RunConfig.model_validate(SETTINGS), length=26, answer=3, precision="fp32").memory
    peak = memory.peak + memory.gradients  # and what was there before, in as many bytes, in the same memory on a CPU
    monkeypatch.setattr(short, "memory_of", lambda device: peak - 1)
    (told,) = heard(tmp_path / "short")
    assert (told.need, told.has, told.device) == (peak, peak - 1, "cpu")
    assert len(told.ways) == 3
    words = told.sentence()
    assert "train.batch_size=2 with train.accumulate=2" in words and "train.gradient_checkpointing=true" in words
    assert "tune.llm.method=lora" in words
    with monkeypatch.context() as changed:
        changed.setattr(short, "_easier", lambda config, workload: [("another name for the same step", workload)])
        assert "same step" not in heard(tmp_path / "same")[0].sentence(), "it saves nothing"
    for enough in (peak, None):
        monkeypatch.setattr(short, "memory_of", lambda device, enough=enough: enough)
        assert not heard(tmp_path / f"enough-{enough}")


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_vl", "idefics3", "internvl", "gemma3", "glm4v"])
def test_memory_is_counted_for_the_longest_row_there_is(family: str, kit: Callable[[str], Loaded]) -> None:
    """Tokens as the batch has them, patches as they go through the tower: one size, tiles, and any size."""
    loaded = kit(family)
    shown = max(questions(each=2), key=lambda example: len(example.images))
    long = Example("long", shown.images, (Turn("what is it ? " * 20, ("a red one",)),), shown.image_key)
    examples = [*questions(each=2), long, Example("empty", (), (Turn("?", ("no",)),))]
    text = Example("text", (), (Turn("what is it ? " * 400, ("no",)),))
    row, beside = (longest_row(some, loaded, None) for some in (examples, [*examples, text]))
    longer = loaded.chat.encode([text], with_answers=True)["input_ids"].shape[1]
    assert beside == replace(row, length=longer) and longer > row.length, "one without images takes none away"
    batch = loaded.chat.encode([long], with_answers=True)
    assert row.length == batch["input_ids"].shape[1]
    assert row.answer == int((batch["labels"] >= 0).sum())
    heard: list[int] = []
    name, _ = loaded.anatomy.vision.layers()[0]
    first = next(layer for where, layer in loaded.anatomy.vision.linears().items() if where.startswith(f"{name}."))
    first.register_forward_hook(lambda layer, given, output: heard.append(given[0].numel() // given[0].shape[-1]))
    with torch.no_grad():
        loaded.model(**{name: values for name, values in batch.items() if name != "labels"})
    settings = {"batch": 1, "length": None, "images": 1, "answer": 8, "precision": "fp32"}
    config = loaded.model.config
    counted = with_rows(
        make_workload(config, **settings, checkpointing=False, answer_logits_only=True),  # type: ignore[arg-type]
        row,
        config,
    )
    assert counted.tokens("vision") <= sum(heard) <= counted.tokens("vision") + counted.images  # with class tokens
    assert counted.tokens("llm") == row.length

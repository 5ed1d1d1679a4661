"""The weights in the package are those of their card, and as good as it says."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from holdfast.models.loading import POCKET
from holdfast.pocket.making.card import read_card, table_lines
from holdfast.pocket.making.language import exact_matches, tower_features
from holdfast.pocket.making.score import accuracy
from holdfast.pocket.tasks import SOURCES, TARGETS, blind_floor, draw
from holdfast.pocket.words import all_words

CARD = read_card(POCKET)
ROWS = {row["task"]: row for row in CARD["table"]}


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(POCKET).eval()


def test_size_and_digest() -> None:
    weights = (POCKET / "model.safetensors").read_bytes()
    assert len(weights) == CARD["weights_bytes"] <= 6_000_000
    assert hashlib.sha256(weights).hexdigest() == CARD["weights_sha256"]
    assert sum(file.stat().st_size for file in POCKET.iterdir()) <= 6_500_000


def test_the_world_is_learned_and_the_targets_are_not() -> None:
    assert set(ROWS) == {*SOURCES, *TARGETS} and len(SOURCES) >= 6 and len(TARGETS) >= 4
    assert CARD["source_mean"] >= 75
    for task in SOURCES:
        row = ROWS[task]
        assert row["accuracy"] >= max(row["blind"], row["any_object"] or 0) + 20, task
    for task in TARGETS:
        assert ROWS[task]["accuracy"] <= ROWS[task]["blind"] + 5, task


@pytest.mark.parametrize("task", SOURCES)
def test_accuracy_is_the_cards_within_sampling_error(model: Any, task: str) -> None:
    """On items that the card's table did not use: four standard errors of the difference."""
    stated, n = ROWS[task]["accuracy"] / 100, 150
    found = accuracy(model, task, n, split="validation") / 100
    spread = max(stated * (1 - stated), 0.01) * (1 / n + 1 / ROWS[task]["n"])
    assert abs(found - stated) <= 4 * spread**0.5


def test_floors_are_the_cards() -> None:
    for task in ("color", "count", "counttag"):
        assert blind_floor(task) == pytest.approx(ROWS[task]["blind"], abs=0.01)


@torch.no_grad()
def test_every_word_can_be_produced(model: Any) -> None:
    """Copying one word at a time gives that word: no row of the head is dead."""
    images = np.stack([sample.image for sample in draw("shape", "test", len(all_words()))])
    features = tower_features(model, images)
    right = exact_matches(model, features, [(f"copy {word}", word) for word in all_words()])
    assert right.mean() > 0.95


def test_the_documentation_prints_the_cards_table() -> None:
    page = POCKET.parents[3] / "docs" / "pocket.md"
    if not page.is_file():
        pytest.skip("installed without its documentation")
    text = page.read_text(encoding="utf-8")
    assert "\n".join(table_lines(CARD)) in text

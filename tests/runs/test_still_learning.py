"""One rule says whether a run ended while its loss still fell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from holdfast.runs.still_learning import still_learning


def written(file: Path, training: Sequence[float], validation: Sequence[float] = ()) -> Path:
    lines = [json.dumps({"step": step, "loss": loss}) for step, loss in enumerate(training, start=1)]
    lines += [json.dumps({"event": "validation", "step": step, "loss": loss}) for step, loss in enumerate(validation)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


NOISE = np.random.default_rng(0).normal(0, 0.02, 40)


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (2 - 0.03 * np.arange(40) + NOISE, True),
        (1 + NOISE, False),
        (np.concatenate((np.linspace(3, 1, 10), np.full(30, 1.0))) + NOISE, False),
        (2 - 0.03 * np.arange(15), False),  # too few steps for quarters of four
        (2 - 0.0004 * np.arange(40), False),  # clear, and less than two per cent
    ],
)
def test_training_losses(tmp_path: Path, training: np.ndarray, expected: bool) -> None:
    assert (still_learning(written(tmp_path / "train.jsonl", training.tolist())) is not None) == expected


@pytest.mark.parametrize(
    ("validation", "expected"),
    [((2.0, 1.5, 1.2), True), ((2.0, 1.2, 1.195), False), ((2.0, 1.0, 1.2), False), ((1.0, 1.3, 1.1), False)],
)
def test_validation_decides_where_there_is_one(tmp_path: Path, validation: Sequence[float], expected: bool) -> None:
    falling = (2 - 0.03 * np.arange(40)).tolist()
    found = still_learning(written(tmp_path / "train.jsonl", falling, validation))
    assert (found is not None) == expected
    assert found is None or "the validation loss fell from 1.5 to 1.2" in found


def test_no_log_and_a_cut_line_say_nothing(tmp_path: Path) -> None:
    assert still_learning(tmp_path / "none.jsonl") is None
    file = written(tmp_path / "train.jsonl", (2 - 0.03 * np.arange(40)).tolist())
    file.write_text(file.read_text(encoding="utf-8") + '{"step": 41, "lo', encoding="utf-8")
    assert still_learning(file) is not None

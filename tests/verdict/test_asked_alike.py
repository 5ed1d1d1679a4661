"""Answers of two folders are compared only if both models were asked alike, as far as the folders say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from holdfast.data.examples import Example, Turn
from holdfast.errors import HoldfastError
from holdfast.tasks.task import Task
from holdfast.verdict.compare import compare
from tests.verdict.conftest import make_rows

RED, BLUE = (np.full((4, 4, 3), shade, dtype=np.uint8) for shade in (10, 90))


def task(question: str = "what is it?", picture: np.ndarray = RED, count: int = 2) -> Task:
    examples = [Example(f"t-{n}", (picture,), (Turn(question, ("yes",)),)) for n in range(count)]
    return Task("t", (), (), examples)


def folder(place: Path, asked: dict[str, str] | None, name: str) -> Path:
    (place / "predictions").mkdir(parents=True)
    rows = make_rows("t", [1.0, 0.0])
    (place / "predictions" / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if asked is not None:
        record = place.parent / name if place.name == "base" else place / name
        record.write_text(json.dumps({"asked": {"t": asked}}), encoding="utf-8")
    return place


AS_EVER = task().asked(32, "generate")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (task(picture=BLUE).asked(32, "generate"), "other pictures in"),
        (task("in one word, what is it?").asked(32, "generate"), "other questions or another prompt in"),
        (task().asked(16, "generate"), "settings .generate, at most 32 tokens in .*, generate, at most 16 tokens in"),
        (task().asked(32, "likelihood"), "other generation settings"),
    ],
)
def test_what_was_asked_otherwise_is_refused(tmp_path: Path, other: dict[str, str], said: str) -> None:
    base = folder(tmp_path / "run" / "base", AS_EVER, "begun.json")
    with pytest.raises(HoldfastError, match=f"task 't' was asked with .*{said}"):
        compare(base, folder(tmp_path / "tuned", other, "evaluation.json"))


@pytest.mark.parametrize(
    "other",
    [
        AS_EVER,
        None,  # predictions without a record
        {key: AS_EVER[key] for key in ("items", "pictures")},  # what was recorded before
        task(picture=BLUE, count=3).asked(32, "generate"),  # other items: their ids tell
    ],
)
def test_the_rest_is_compared(tmp_path: Path, other: dict[str, str] | None) -> None:
    base = folder(tmp_path / "run" / "base", AS_EVER, "begun.json")
    assert "t" in compare(base, folder(tmp_path / "tuned", other, "evaluation.json")).tasks

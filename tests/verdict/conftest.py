"""Prediction files of two sides, made from lists of scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Row = dict[str, Any]


def make_rows(task: str, scores: Sequence[float], **fields: Any) -> list[Row]:
    """One row a score; ``fields`` may be callables of the index."""
    made = []
    for index, score in enumerate(scores):
        row: Row = {
            "id": f"{task}-{index}",
            "task": task,
            "question": f"question {index}?",
            "references": ["yes"],
            "prediction": "yes" if score >= 0.5 else "no",
            "truncated": False,
            "metric": "exact_match",
            "score": score,
        }
        row |= {name: value(index) if callable(value) else value for name, value in fields.items()}
        made.append({name: value for name, value in row.items() if value is not None})
    return made


@pytest.fixture
def rows() -> Callable[..., list[Row]]:
    """The maker of rows."""
    return make_rows


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Sequence[Row]], Path]:
    """Write rows as a prediction file and give its path."""

    def writer(name: str, lines: Sequence[Row]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path

    return writer

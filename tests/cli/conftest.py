"""A fresh desk for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, tiny_llava: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """Pictures, examples and a recipe for the tiny random model."""
    return Desk(tmp_path, tiny_llava, capsys)

"""Which configurations may go on in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.runs.folder import RunFolder


def test_other_speed_ups_are_no_other_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(load_config({"seed": 1}))
    folder.append("train.jsonl", {"step": 1})
    other = load_config({"seed": 1, "speed": {"share_images": False, "feature_cache": "on"}})
    folder.begin(other)
    assert load_config(folder.config) == other
    with pytest.raises(HoldfastError, match="another configuration"):
        folder.begin(load_config({"seed": 2}))

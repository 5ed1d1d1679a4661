"""Which configurations may go on in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.runs.folder import RunFolder
from holdfast.runs.opening import config_of


def test_other_speed_ups_are_no_other_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(load_config({"seed": 1}))
    folder.append("train.jsonl", {"step": 1})
    other = load_config({"seed": 1, "speed": {"share_images": False, "feature_cache": "on"}})
    folder.begin(other)
    assert load_config(folder.config) == other
    with pytest.raises(HoldfastError, match="another configuration"):
        folder.begin(load_config({"seed": 2}))


@pytest.mark.parametrize("content", ["", "{}", "null", "model: pocket\n"])
def test_a_configuration_that_is_not_whole_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(HoldfastError, match="names no target"):
        config_of(RunFolder(tmp_path))

"""birds: a download in miniature becomes examples, and a mistake in it is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from holdfast.errors import HoldfastError
from holdfast.tasks.cards import find_card
from holdfast.tasks.preparing.write import prepare


def download(folder: Path, **changes: Any) -> Path:
    """Two splits with one question each, in the official layout."""
    (folder / "images").mkdir(parents=True)
    for number, split in enumerate(("train", "test")):
        Image.new("RGB", (4, 4), "red").save(folder / "images" / f"{split}.jpg")
        row = {"id": number, "image": f"{split}.jpg", "question": "Which bird?", "answer": "wren"} | changes
        (folder / f"{split}.json").write_text(json.dumps([row]), encoding="utf-8")
    return folder


def test_the_download_becomes_examples(tmp_path: Path) -> None:
    prepare(find_card("birds"), download(tmp_path / "official"), tmp_path / "prepared")
    (line,) = (tmp_path / "prepared" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(line)
    assert (row["id"], row["image"], row["answer"]) == ("1", "images/test.jpg", "wren")


def test_a_picture_outside_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="cannot name a file"):
        prepare(find_card("birds"), download(tmp_path / "official", image="../x.jpg"), tmp_path / "prepared")

"""A start on data that were seen before opens no picture but what was edited; the check tells how far it is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.config.schema import RunConfig
from holdfast.data import checking, contents, images
from holdfast.data.checking import sizes_of
from holdfast.data.stored import StoredImage
from holdfast.errors import HoldfastError
from holdfast.events import Event, PicturesChecked
from holdfast.runs.reading import Tasks, read_tasks
from holdfast.tasks.cards import find_card
from holdfast.tasks.preparing.write import prepare
from tests.support.desk import picture, write_lines

COUNT = 40


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory of its own, and a clock ten seconds further on, so that the files are at rest."""
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "_here", {})
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10_000_000_000)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are decoded, or whose header is read."""
    seen: list[str] = []
    decode, size_of = images.decode, images.size_of

    def decoding(source: Path | StoredImage) -> tuple[int, int]:
        seen.append(source.name)
        return decode(source)

    def looking(file: Path) -> tuple[int, int]:
        seen.append(file.name)
        return size_of(file)

    monkeypatch.setattr(checking, "decode", decoding)
    monkeypatch.setattr(checking, "size_of", looking)
    return seen


def from_file(folder: Path) -> tuple[str, list[Path]]:
    """A data file with two questions a picture."""
    files = [picture(folder / f"{index}.png", index).resolve() for index in range(COUNT)]
    rows = [
        {"id": f"q{index}", "image": files[index % COUNT].name, "question": "what is it ?", "answer": "red"}
        for index in range(2 * COUNT)
    ]
    write_lines(folder / "data.jsonl", rows)
    return "data.jsonl", files


def from_download(folder: Path) -> tuple[str, list[Path]]:
    """A prepared folder; its pictures stay in the download."""
    root, files = folder / "in", []
    (root / "Annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (root / split).mkdir()
        listed = []
        for index in range(COUNT // 2):
            name = f"VizWiz_{split}_{index:08d}.jpg"
            files.append(picture(root / split / name, len(files)).resolve())
            answers = [{"answer": "soup", "answer_confidence": "yes"}] * 10
            listed.append({"image": name, "question": "What?", "answers": answers, "answer_type": "other"})
        (root / "Annotations" / f"{split}.json").write_text(json.dumps(listed), encoding="utf-8")
    prepare(find_card("vizwiz"), root, folder / "prepared")
    return "prepared", files


def begin(folder: Path, data: str, *, skip_bad: bool = False) -> tuple[Tasks, list[tuple[int, int]]]:
    """What a start reads, in a process that has seen nothing, and what it tells of pictures."""
    contents._here.clear()
    told: list[tuple[int, int]] = []

    def listen(event: Event) -> None:
        assert isinstance(event, PicturesChecked)
        told.append((event.done, event.total))

    config = RunConfig.model_validate({"model": "pocket", "target": data, "skip_bad": skip_bad})
    return read_tasks(config, folder, listen), told


@pytest.mark.parametrize("make", [from_file, from_download])
def test_pictures_are_decoded_at_the_first_start_only(
    tmp_path: Path, opened: list[str], make: Callable[[Path], tuple[str, list[Path]]]
) -> None:
    data, files = make(tmp_path)
    assert len(files) == COUNT
    opened.clear()
    tasks, told = begin(tmp_path, data)
    assert sorted(opened) == sorted(file.name for file in files)
    assert told[0] == (0, COUNT) and told[-1] == (COUNT, COUNT) and told == sorted(told)

    opened.clear()
    again, told = begin(tmp_path, data)
    assert again.all == tasks.all and told == [(COUNT, COUNT)]
    assert sizes_of(files) == dict.fromkeys(files, (20, 20)) and opened == []

    picture(files[3], 99, size=(30, 10))
    opened.clear()
    _, told = begin(tmp_path, data)
    assert opened == [files[3].name] and told == [(COUNT - 1, COUNT), (COUNT, COUNT)]
    assert sizes_of(files)[files[3]] == (30, 10) and opened == [files[3].name]

    files[7].write_bytes(files[7].read_bytes()[:100])
    with pytest.raises(HoldfastError, match=f"{files[7].name}' is damaged"):
        begin(tmp_path, data)
    left, _ = begin(tmp_path, data, skip_bad=True)
    shown = {
        image
        for task in left.all
        for part in (task.train, task.validation, task.test)
        for e in part
        for image in e.images
    }
    assert shown == {file.resolve() for file in files} - {files[7].resolve()} and left.skipped

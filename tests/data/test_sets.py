"""Data sets of Hugging Face, as ``datasets`` itself writes them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from holdfast.config.schema import TaskSpec
from holdfast.data.images import open_image
from holdfast.data.sets import is_set, open_set
from holdfast.errors import HoldfastError
from holdfast.tasks.resolve import resolve_task

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def png(colour: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 3), (colour, 0, 0)).save(out, "PNG")
    return out.getvalue()


def make(count: int = 6, **columns: Any) -> Any:
    features = {
        "image": datasets.Image(),
        "question": datasets.Value("string"),
        "answer": datasets.Value("string"),
    }
    rows: dict[str, list[Any]] = {
        "image": [{"bytes": png(10 * at), "path": None} for at in range(count)],
        "question": [f"how red is {at}?" for at in range(count)],
        "answer": [str(10 * at) for at in range(count)],
    }
    for name, (feature, values) in columns.items():
        features[name], rows[name] = feature, values
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def task(data: str, base: Path, **more: Any) -> Any:
    return resolve_task(TaskSpec(data=data, **more), base=base, seed=0).task


def reds(examples: Any) -> list[int]:
    return [open_image(example.images[0]).getpixel((0, 0))[0] for example in examples]  # type: ignore[index]


@pytest.mark.parametrize("form", ["saved", "saved splits", "parquet", "parquet folder", "clone", "arrow"])
def test_every_form_gives_the_same_examples(form: str, tmp_path: Path) -> None:
    rows, name = make(), "set"
    if form == "saved":
        rows.save_to_disk(tmp_path / name)
    elif form == "saved splits":
        datasets.DatasetDict({"train": rows}).save_to_disk(tmp_path / name)
    elif form == "parquet":
        name = "set.parquet"
        rows.to_parquet(tmp_path / name)
    elif form in ("parquet folder", "clone"):
        folder = tmp_path / name / ("data" if form == "clone" else "")
        folder.mkdir(parents=True)
        rows.select(range(4)).to_parquet(folder / "train-00000-of-00002.parquet")
        rows.select(range(4, 6)).to_parquet(folder / "train-00001-of-00002.parquet")
    else:
        rows.save_to_disk(tmp_path / "whole")
        name = str(next((tmp_path / "whole").glob("*.arrow")).relative_to(tmp_path))
    found = task(name, tmp_path, validation=0, test=0)
    assert [(e.id, e.question, e.answers) for e in found.train] == [
        (f"row-{at + 1}", f"how red is {at}?", (str(10 * at),)) for at in range(6)
    ]
    assert reds(found.train) == [10 * at for at in range(6)]
    assert len({e.image_key for e in found.train}) == 6 and not found.validation and not found.test


def test_splits_of_its_own_are_taken_and_may_be_named(tmp_path: Path) -> None:
    whole = make(9)
    parts = {"train": range(4), "validation": range(4, 6), "test": range(6, 8), "extra": range(8, 9)}
    datasets.DatasetDict({name: whole.select(rows) for name, rows in parts.items()}).save_to_disk(tmp_path / "set")
    found = task("set", tmp_path)
    assert [reds(part) for part in (found.train, found.validation, found.test)] == [[0, 10, 20, 30], [40, 50], [60, 70]]
    found = task("set", tmp_path, split="test", validation="extra", test=0)
    assert [reds(part) for part in (found.train, found.validation, found.test)] == [[60, 70], [80], []]
    with pytest.raises(HoldfastError, match="no split 'tset', only train, validation, test, extra"):
        task("set", tmp_path, split="tset")
    with pytest.raises(HoldfastError) as error:
        task("set", tmp_path, test="dev")
    assert error.value.key == ("test",) and "no split 'dev'" in str(error.value)
    datasets.DatasetDict({"a": whole, "b": whole}).save_to_disk(tmp_path / "two")
    with pytest.raises(HoldfastError, match=r"several splits \(a, b\)"):
        task("two", tmp_path)


def test_columns_labels_lists_of_pictures_and_messages(tmp_path: Path) -> None:
    rows = make(2, kind=(datasets.ClassLabel(names=["cat", "dog"]), [1, 0]))
    rows = rows.remove_columns("answer").rename_columns({"image": "picture", "question": "prompt"})
    rows.save_to_disk(tmp_path / "set")
    columns = {"image": "picture", "question": "prompt", "answer": "kind"}
    found = task("set", tmp_path, columns=columns, validation=0, test=0)
    assert [e.answers for e in found.train] == [("dog",), ("cat",)] and reds(found.train) == [0, 10]

    said = [{"role": "user", "content": "<image><image>which?"}, {"role": "assistant", "content": "one"}]
    messages = datasets.Dataset.from_dict(
        {"messages": [said], "images": [[{"bytes": png(1), "path": None}, {"bytes": png(2), "path": None}]]},
        features=datasets.Features(
            {
                "messages": datasets.List({"role": datasets.Value("string"), "content": datasets.Value("string")}),
                "images": datasets.List(datasets.Image()),
            }
        ),
    )
    messages.save_to_disk(tmp_path / "messages")
    (example,) = task("messages", tmp_path, validation=0, test=0).train
    assert [open_image(image).getpixel((0, 0)) for image in example.images] == [(1, 0, 0), (2, 0, 0)]
    assert example.question == "which?" and example.answers == ("one",)


def test_text_alone_paths_and_binary_columns(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(7))
    rows = datasets.Dataset.from_dict({"image": ["a.png", None], "question": ["q", "r"], "answer": ["x", "y"]})
    rows.to_parquet(tmp_path / "paths.parquet")
    first, second = task("paths.parquet", tmp_path, validation=0, test=0).train
    assert reds([first]) == [7] and second.images == ()
    rows = datasets.Dataset.from_dict({"image": [png(3)], "question": ["q"], "answer": ["x"]})
    rows.to_parquet(tmp_path / "bytes.parquet")
    assert reds(task("bytes.parquet", tmp_path, validation=0, test=0).train) == [3]
    outside = datasets.Dataset.from_dict({"image": ["../a.png"], "question": ["q"], "answer": ["x"]})
    (tmp_path / "deep").mkdir()
    outside.to_parquet(tmp_path / "deep" / "out.parquet")
    with pytest.raises(HoldfastError, match="leaves the data root"):
        task("deep/out.parquet", tmp_path)


def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make().save_to_disk(tmp_path / "set")
    with pytest.raises(HoldfastError, match=r"no column 'reply' for 'answer'.*image, question, answer"):
        task("set", tmp_path, columns={"answer": "reply"})
    with pytest.raises(HoldfastError, match=r"item row-1.*neither a path nor a list"):
        numbers = datasets.Dataset.from_dict({"image": [3], "question": ["q"], "answer": ["x"]})
        numbers.to_parquet(tmp_path / "numbers.parquet")
        task("numbers.parquet", tmp_path)
    broken = {"bytes": b"no picture", "path": None}
    features = make().features
    rows = datasets.Dataset.from_dict({"image": [broken], "question": ["q"], "answer": ["x"]}, features=features)
    rows.save_to_disk(tmp_path / "broken")
    with pytest.raises(HoldfastError, match="'image of row 1' is not an image"):
        task("broken", tmp_path)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(HoldfastError, match="the data set cannot be read"):
        task("cut.parquet", tmp_path)
    (tmp_path / "set" / "state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(HoldfastError, match="the data set cannot be read"):
        task("set", tmp_path)
    for key in ("split", "subset"):
        with pytest.raises(HoldfastError) as error:
            task("pocket:count", tmp_path, **{key: "train"})
        assert error.value.key == (key,)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (datasets.exceptions.DatasetNotFoundError("gone"), "the Hub has no data set 'org/gone' that you may read"),
        (ConnectionError("no network"), "cannot be fetched: the Hub is not reachable"),
        (ValueError("Config name is missing. Please pick one among ['a', 'b']"), "several subsets"),
        (RuntimeError("odd"), "RuntimeError: odd"),
    ],
)
def test_the_hub_says_no(error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    for name in ("org/gone", "hub:org/gone"):
        with pytest.raises(HoldfastError) as told:
            task(name, tmp_path)
        assert said in str(told.value)
        if "subset" not in said:  # where it has subsets, it is there
            assert ("there is no file" in str(told.value)) == (not name.startswith("hub:"))


def test_a_set_of_the_hub_is_asked_for_by_name_and_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(name: str, subset: str | None) -> Any:
        asked.append((name, subset))
        return datasets.DatasetDict({"train": make()})

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(task("hub:org/set", tmp_path, subset="easy", validation=0, test=0).train) == 6
    assert task("org/set", tmp_path).name == "set"
    assert asked == [("org/set", "easy"), ("org/set", None)]


def test_files_of_examples_are_no_sets(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    names = {"org/name": True, "hub:x": True, "data/mine.jsonl": False, "mine.jsonl": False, "folder": False}
    names |= {"a/b/c": False, "x.parquet": True, "okvqa": False}
    assert {name: is_set(name, tmp_path) for name in names} == names


def test_pictures_stay_in_the_table(tmp_path: Path) -> None:
    make(3).save_to_disk(tmp_path / "set")
    opened = open_set("set", base=tmp_path)
    reading = opened.read("train", open_images=False)
    assert not reading.problems
    example = reading.examples[1]
    assert example.images[0].tobytes() == png(10) and not hasattr(example.images[0], "content")
    assert example.images[0] == reading.examples[1].images[0] != reading.examples[2].images[0]

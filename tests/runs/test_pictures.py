"""Pictures that the model's own processor refuses are found before step 1."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.api import evaluate
from holdfast.data.examples import Example, Turn, image_key
from holdfast.data.stored import DataURI
from holdfast.errors import HoldfastError
from holdfast.models.loading import load_model
from holdfast.runs.pictures import MOST, Refusals, _extremes
from holdfast.tasks.task import Task
from tests.support.desk import picture
from tests.support.processors import save
from tests.support.tiny import ROLES


def example(name: str, file: Path) -> Example:
    return Example(name, (file,), (Turn("what is it ?", ("red",)),), image_key=image_key((file,)))


def test_a_picture_that_the_processor_refuses_is_named_or_left_out(tmp_path: Path) -> None:
    chat = load_model(str(save(tmp_path / "m", "qwen2_vl", ROLES)), device="cpu").chat
    good, long = picture(tmp_path / "good.png"), picture(tmp_path / "long.png", size=(5000, 1))
    examples = (example("a", good), example("b", long), example("c", good), example("d", long))
    refusals = Refusals(chat)
    assert sorted(refusals.of(examples)) == [1, 3]
    with pytest.raises(HoldfastError, match=r"b: .*5000 x 1 pixels.*2 items in all.*--skip-bad"):
        refusals.keep(examples, skip=False)
    task = Task("t", examples, (), examples[:2], metric="exact_match")
    kept, problems = refusals.keep_task(task, skip=True)
    assert [e.id for e in kept.train] == ["a", "c"] and [e.id for e in kept.test] == ["a"]
    assert len(problems) == 3


def test_an_item_of_text_alone_in_front_hides_nothing_and_pictures_in_records_count(tmp_path: Path) -> None:
    chat = load_model(str(save(tmp_path / "m", "qwen2_vl", ROLES)), device="cpu").chat
    text = Example("text", (), (Turn("why ?", ("so",)),))
    long = picture(tmp_path / "long.png", size=(5000, 1))
    uri = "data:image/png;base64," + base64.b64encode(long.read_bytes()).decode()
    inside = replace(text, id="inside", images=(DataURI(uri),))
    for bad in (example("file", long), inside):
        with pytest.raises(HoldfastError, match=rf"{bad.id}: .*5000 x 1 pixels"):
            Refusals(chat).keep((text, bad), skip=False)
    kept, problems = Refusals(chat).keep((text, inside, example("file", long)), skip=True)
    assert [e.id for e in kept] == ["text"] and len(problems) == 2


def test_an_evaluation_names_the_item_before_it_asks(tmp_path: Path) -> None:
    model = str(save(tmp_path / "m", "qwen2_vl", ROLES))
    picture(tmp_path / "good.png")
    picture(tmp_path / "tall.png", size=(1, 5000))
    rows = [{"id": name, "image": f"{name}.png", "question": "?", "answer": "red"} for name in ("good", "tall")]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(HoldfastError, match=r"^item tall: of task t, .*1 x 5000 pixels.*leave the item out"):
        evaluate(model, [str(tmp_path / "t.jsonl")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_many_sizes_the_extremes_are_asked() -> None:
    sizes = {(width, height) for width in range(1, 101) for height in range(1, 101)} | {(5000, 1), (1, 5000)}
    tried = set(_extremes(sizes))
    assert {(5000, 1), (1, 5000), (1, 1), (100, 100)} <= tried and len(tried) <= MOST

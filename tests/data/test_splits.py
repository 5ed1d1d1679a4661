"""Train, validation and test never share a picture, and stay where they are when examples come or move."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.config.schema import TaskSpec
from holdfast.data.examples import Example, Turn
from holdfast.tasks.resolve import resolve_task
from holdfast.tasks.task import split_by_image, subsample, with_prompt
from tests.support.desk import picture, records, write_lines

ROOT = Path("/data")
SHARES = st.floats(0, 0.45)


def example(number: int, picture: int) -> Example:
    image = ROOT / f"{picture}.png"
    return Example(str(number), (image,), (Turn("?", ("a",)),), image_key=str(image))


def examples(pictures: list[int]) -> list[Example]:
    return [example(number, picture) for number, picture in enumerate(pictures)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60), SHARES, SHARES)
def test_no_picture_is_split_and_no_example_is_lost(pictures: list[int], validation: float, test: float) -> None:
    given_ = examples(pictures)
    parts = split_by_image(given_, validation, test, root=ROOT)
    assert sorted(e.id for part in parts for e in part) == sorted(e.id for e in given_)
    keys = [{e.image_key for e in part} for part in parts]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    for part in parts:
        order = [int(e.id) for e in part]
        assert order == sorted(order)
    if validation == 0:
        assert not parts[1]
    if test == 0:
        assert not parts[2]
    if len(set(pictures)) >= 3:
        assert parts[0]
        assert parts[1] or validation == 0
        assert parts[2] or test == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 500), min_size=60, max_size=120, unique=True), st.integers(20, 59))
def test_added_examples_move_no_old_one(pictures: list[int], count: int) -> None:
    few = split_by_image(examples(pictures[:count]), 0.2, 0.2, root=ROOT)
    many = split_by_image(examples(pictures), 0.2, 0.2, root=ROOT)
    assume(all(len(part) >= 2 for part in few))  # a part with one picture may have been given it to not be empty
    for before, after in zip(few, many, strict=True):
        assert {e.id for e in before} <= {e.id for e in after}


def test_shares_are_kept_on_average() -> None:
    parts = split_by_image(examples(list(range(4000))), 0.1, 0.2, root=ROOT)
    assert [round(len(part) / 4000, 1) for part in parts] == [0.7, 0.1, 0.2]


def test_a_moved_folder_is_divided_as_before(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for index in range(12):
        picture(here / f"{index}.png", index)
    write_lines(here / "data.jsonl", records())
    shutil.copytree(here, tmp_path / "far" / "away")
    tasks = [
        resolve_task(TaskSpec(data="data.jsonl", validation=0.2, test=0.3), base=base, seed=0).task
        for base in (here, tmp_path / "far" / "away")
    ]
    ids = [[[e.id for e in part] for part in (task.train, task.validation, task.test)] for task in tasks]
    assert ids[0] == ids[1]
    assert all(ids[0])


@given(st.integers(0, 40), st.integers(1, 50), st.integers(0, 5))
def test_subsamples_keep_order_and_size(count: int, limit: int, seed: int) -> None:
    given_ = examples(list(range(count)))
    chosen = subsample(given_, limit, seed)
    assert len(chosen) == min(limit, count)
    assert [int(e.id) for e in chosen] == sorted({int(e.id) for e in chosen})
    assert chosen == subsample(given_, limit, seed)


def test_subsamples_are_fair() -> None:
    given_ = examples(list(range(10)))
    counts = Counter(e.id for seed in range(600) for e in subsample(given_, 5, seed))
    assert all(240 < count < 360 for count in counts.values())


def test_prompts() -> None:
    asked = Example("1", (), (Turn("first", ("x",)), Turn("{choices} ?", ("a",))), choices=("a", "b"))
    written = with_prompt(asked, "Q: {question} Options: {choices}.")
    assert written.turns[0].question == "first"
    assert written.turns[1].question == "Q: {choices} ? Options: a, b."

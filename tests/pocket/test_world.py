"""Draws are deterministic, parts share no picture, and what is asked is true of the picture."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from holdfast.errors import HoldfastError
from holdfast.pocket import drawing, skills, targets, words
from holdfast.pocket.making import pool
from holdfast.pocket.making.exercises import copy_exercise, letter_exercise
from holdfast.pocket.tasks import SOURCES, TARGETS, any_object_floor, blind_floor, draw

EVERY = SOURCES + TARGETS


@pytest.mark.parametrize("task", EVERY)
def test_the_same_call_draws_the_same_items(task: str) -> None:
    first, again, more = draw(task, "test", 6), draw(task, "test", 6), draw(task, "test", 9)
    for one, two, three in zip(first, again, more, strict=False):
        assert one.id == two.id == three.id
        assert np.array_equal(one.image, two.image) and np.array_equal(one.image, three.image)
        assert (one.question, one.answer, one.choices) == (two.question, two.answer, two.choices)
    assert first[5].id == f"{task}-test-00005"
    assert first[0].image.shape == (32, 32, 3) and first[0].image.dtype == np.uint8


@pytest.mark.parametrize("task", EVERY)
def test_parts_share_no_picture(task: str) -> None:
    parts = [{sample.image.tobytes() for sample in draw(task, part, 300)} for part in ("train", "validation", "test")]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert all(len(part) > 250 for part in parts)


def test_parts_of_different_tasks_and_the_pool_share_no_picture() -> None:
    seen: set[bytes] = set()
    total = 0
    for task in EVERY:
        samples = draw(task, "test", 100)
        seen |= {sample.image.tobytes() for sample in samples}
        total += len(samples)
    pictures = pool.draw_pool(300, seed=0, stream=1)
    assert len(seen) == total
    assert not seen & {picture.image.tobytes() for picture in pictures}


def test_the_scans_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from its file or by its function, the same."""
    from sklearn.datasets import load_digits

    images, digits, _ = targets.scanned_digits()
    data = load_digits()
    assert np.array_equal(images, data.images / 16.0) and np.array_equal(digits, data.target)
    monkeypatch.setattr(targets, "find_spec", lambda name: None)
    assert np.array_equal(targets._digits_table(), np.column_stack([data.data, data.target]))


def test_the_digits_are_all_of_the_scans_once() -> None:
    images, digits, _ = targets.scanned_digits()
    parts = {part: draw("digits", part, 5000) for part in ("train", "validation", "test")}
    assert [len(part) for part in parts.values()] == [1000, 297, 500]
    everything = [sample for part in parts.values() for sample in part]
    assert len({sample.id for sample in everything}) == len(images)
    counts = {f"code {words.NUMBERS[digit]}": int((digits == digit).sum()) for digit in range(10)}
    assert {answer: sum(s.answer == answer for s in everything) for answer in counts} == counts


def test_equal_scans_would_be_noticed() -> None:
    """The scans themselves, before they are placed, are all different too."""
    images, _, order = targets.scanned_digits()
    parts = [{images[index].tobytes() for index in order[a:b]} for a, b in targets.DIGIT_PARTS.values()]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_another_seed_draws_other_items_under_other_ids() -> None:
    zero, one = draw("color", "test", 3), draw("color", "test", 3, seed=1)
    assert {sample.id for sample in zero}.isdisjoint(sample.id for sample in one)
    assert not np.array_equal(zero[0].image, one[0].image)
    shuffled = draw("digits", "test", 500, seed=1)
    assert {s.id for s in shuffled} == {s.id for s in draw("digits", "test", 500)} and shuffled[
        0
    ].id != "digits-test-00000"


@pytest.mark.parametrize("bad", [("colour", "test", 1), ("color", "tests", 1), ("color", "test", -1)])
def test_mistakes_are_explained(bad: tuple[str, str, int]) -> None:
    with pytest.raises(HoldfastError):
        draw(*bad)  # type: ignore[arg-type]


def test_drawing_needs_no_torch() -> None:
    code = "import sys; from holdfast.pocket.tasks import *; draw('mcq', 'test', 2); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("task", EVERY)
def test_floors_lie_between_chance_and_certainty(task: str) -> None:
    floor = blind_floor(task, train=300, test=300)
    assert 0 <= floor < 62
    trick = any_object_floor(task, test=200)
    assert trick is None or floor - 12 < trick < 55


def test_an_object_is_where_the_scene_says() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        things = drawing.random_things(rng, 1)
        picture = drawing.draw_scene(things, rng).astype(float)
        away = np.abs(picture - picture[-1 if things[0].cell < 3 else 0, 0]).sum(axis=2) > 80
        if things[0].cell in (0, 6):
            continue  # the corner used as ground may be covered
        rows, columns = np.nonzero(away)
        row, column = divmod(things[0].cell, 3)
        assert abs(rows.mean() - drawing.CENTRES[row]) < 2.5 and abs(columns.mean() - drawing.CENTRES[column]) < 2.5


def test_questions_agree_with_the_scene() -> None:
    things = [drawing.Thing(0, 0, 0), drawing.Thing(6, 1, 4), drawing.Thing(0, 5, 8)]
    assert skills.ask_color(things)[0] == ("what color is the circle?", "red")
    assert skills.ask_shape(things) == [("what shape is the orange object?", "square")]
    assert skills.ask_place(things)[2] == ("where is the red ring?", "bottom right")
    assert skills.ask_count(things, 0) == ("how many red objects are there?", "two")
    assert skills.ask_exist((6, 1), things) == ("is there an orange square?", "yes")
    assert skills.ask_exist((0, 1), things)[1] == "no"
    assert skills.tell_caption(things)[1] == "a red circle and an orange square and a red ring"


def test_counted_scenes_have_the_number_asked_for() -> None:
    rng = np.random.default_rng(3)
    for number in (0, 1, 2, 3, 4):
        for _ in range(20):
            things = skills.counted_things(rng, 2, number)
            assert sum(thing.color == 2 for thing in things) == number and 1 <= len(things) <= 6


def test_multiple_choice_offers_the_right_answer_once() -> None:
    for sample in draw("mcq", "test", 50):
        options = [word for word in sample.question.split("? ")[1].split() if "." not in word]
        assert len(set(options)) == 4 and sample.answer in sample.choices == ("A", "B", "C", "D")


def test_exercises_never_write_a_target_answer() -> None:
    rng = np.random.default_rng(0)
    answers = {sample.answer for task in TARGETS for sample in draw(task, "train", 200) if " " in sample.answer}
    for _ in range(3000):
        question, answer = copy_exercise(rng)
        assert question == f"copy {answer}" and not any(f" {known} " in f" {answer} " for known in answers)
        question, answer = letter_exercise(rng)
        listed = dict(item.split(" ") for item in question.split(". ")[0].removeprefix("choices ").split(", "))
        asked = question.rstrip("?").split()[-1]
        assert answer == listed[asked] if asked in listed else listed[answer] == asked

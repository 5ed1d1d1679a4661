"""What training and a test share is found by content."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holdfast.data.examples import Example, ImageSource, Turn
from holdfast.runs.leaks import find_leaks
from holdfast.tasks.task import Task


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Six pictures; the last two are copies of the first two under other names."""
    files = [tmp_path / f"{index}.png" for index in range(6)]
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(files[index])
    shutil.copy(files[0], files[4])
    shutil.copy(files[1], files[5])
    return files


def example(name: str, question: str, *images: ImageSource) -> Example:
    return Example(id=name, images=images, turns=(Turn(question, ("yes",)),), image_key=name)


def task(*tests: Example, name: str = "other") -> Task:
    return Task(name, train=(), validation=(), test=tests)


def test_copies_are_found_whatever_they_are_called(pictures: list[Path]) -> None:
    train = [example("a", "Which colour?", pictures[0]), example("b", "How many?", pictures[1])]
    test = task(
        example("x", "How many?", pictures[4]), example("y", "how  many?", pictures[5]), example("z", "?", pictures[2])
    )
    (leak,) = find_leaks([train], [test])
    assert (leak.items, leak.pictures, leak.questions, leak.example) == (3, 2, 1, ("x", "a"))
    assert "2 show a picture that training shows" in leak.sentence() and "x, in training as a" in leak.sentence()


def test_the_same_file_is_one_picture(pictures: list[Path]) -> None:
    (leak,) = find_leaks([[example("a", "?", pictures[3])]], [task(example("x", "!", pictures[3]))])
    assert leak.pictures == 1 and leak.questions == 0


def test_other_pictures_and_questions_of_a_form_are_no_leak(pictures: list[Path]) -> None:
    train = [example("a", "What colour is it?", pictures[0]), example("b", "What colour is it?", pictures[1])]
    assert find_leaks([train], [task(example("x", "What colour is it?", pictures[2]))]) == []


def test_a_question_without_a_picture_leaks_by_its_words() -> None:
    train = [example("a", "Which planet is the third from the sun?"), example("b", "Name a metal.")]
    (leak,) = find_leaks([train], [task(example("x", "Which planet is the third  from the Sun?"))])
    assert (leak.pictures, leak.questions, leak.example) == (0, 1, ("x", "a"))


def test_drawn_pixels_are_compared_too() -> None:
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    train = [example("a", "one?", pixels)]
    assert find_leaks([train], [task(example("x", "two?", pixels.copy()))])[0].pictures == 1
    assert find_leaks([train], [task(example("x", "two?", pixels + 1))]) == []


def test_every_task_is_told_apart(pictures: list[Path]) -> None:
    train = [example("a", "one?", pictures[0])]
    tests = [task(example("x", "two?", pictures[4]), name="one"), task(example("y", "three?", pictures[2]), name="two")]
    assert [leak.task for leak in find_leaks([train], tests)] == ["one"]

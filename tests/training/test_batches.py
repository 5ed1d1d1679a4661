"""Which examples stand in one batch."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from holdfast.speed.division import text_length
from holdfast.training.batches import Stream, parts
from tests.support.methods import examples
from tests.support.questions import questions


def epoch(stream: Stream, number: int = 0) -> list[Any]:
    size = len(stream.examples) // stream.batch_size
    return [example for step in range(size) for batch in stream.step(number * size + step) for example in batch]


@pytest.mark.parametrize("order", ["images", "random", "length"])
def test_a_pass_sees_every_example_once_and_is_another_each_time(order: Any) -> None:
    data = questions(pictures=5, each=3)
    stream = Stream(data, 4, 1, 0, order)
    first, second = epoch(stream), epoch(stream, 1)
    for seen in (first, second):
        assert Counter(e.id for e in seen) == Counter(e.id for e in data)
    assert [e.id for e in first] != [e.id for e in second]
    assert [e.id for e in first] == [e.id for e in epoch(Stream(data, 4, 1, 0, order))]


@pytest.mark.parametrize("order", ["images", "length"])
def test_questions_about_an_image_follow_each_other(order: Any) -> None:
    seen = epoch(Stream(questions(pictures=5, each=3), 4, 1, 0, order))
    keys = [example.image_key for example in seen]
    changes = sum(one != other for one, other in pairwise(keys))
    assert changes == len(set(keys)) - 1


def test_images_with_one_question_come_in_the_plain_random_order() -> None:
    data = examples(8)
    assert [e.id for e in epoch(Stream(data, 4, 1, 3))] == [e.id for e in epoch(Stream(data, 4, 1, 3, "random"))]


def test_length_order_wastes_less_padding() -> None:
    data = questions(pictures=32, each=1)

    def waste(order: Any) -> int:
        stream = Stream(data, 3, 1, 0, order)
        batches = [next(stream.step(step)) for step in range(len(data) // 3)]
        return sum(max(map(text_length, b)) - text_length(e) for b in batches for e in b)

    assert waste("length") < 0.5 * waste("random")


def test_parts_hold_every_example_once_images_together_lengths_together() -> None:
    data = questions(pictures=4, each=3)
    divided = parts(data, 3)
    assert Counter(e.id for part in divided for e in part) == Counter(e.id for e in data)
    assert max(map(len, divided)) == 3
    flat = [example.image_key for part in divided for example in part]
    assert sum(one != other for one, other in pairwise(flat)) == len(set(flat)) - 1

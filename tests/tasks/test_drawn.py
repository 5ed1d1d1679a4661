"""Pocket examples are drawn when they are looked at, and are the same then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.config.schema import TaskSpec
from holdfast.pocket import tasks as pocket
from holdfast.tasks import drawn
from holdfast.tasks.drawn import Joined, PocketExamples
from holdfast.tasks.resolve import resolve_task


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    drawn._drawn.cache_clear()
    made: list[tuple[Any, ...]] = []
    original = pocket.draw

    def draw(*arguments: Any, **settings: Any) -> Any:
        made.append(arguments)
        return original(*arguments, **settings)

    monkeypatch.setattr(pocket, "draw", draw)
    return made


def test_nothing_is_drawn_before_it_is_looked_at(calls: list[tuple[Any, ...]]) -> None:
    task = resolve_task(TaskSpec(data="pocket:color", limit=6), base=Path(), seed=0, test_limit=4).task
    assert (len(task.train), len(task.validation), len(task.test), calls) == (6, 200, 4, [])
    ids = [sample.id for sample in pocket.draw("color", "test", 4)]
    calls.clear()
    assert [example.id for example in task.test] == ids
    assert task.test[-1].id == ids[3] and [one.id for one in task.test[1:3]] == ids[1:3]
    assert calls == [("color", "test", 4)]


def test_a_prompt_is_written_into_drawn_questions() -> None:
    spec = TaskSpec(data="pocket:color", limit=2, prompt="Well: {question}")
    task = resolve_task(spec, base=Path(), seed=0, test_limit=2).task
    assert all(example.question.startswith("Well: ") for example in (*task.train, *task.test))


@pytest.mark.parametrize(("part", "there"), [("train", 1000), ("validation", 297), ("test", 500)])
def test_scans_end_where_they_do(part: drawn.Part, there: int) -> None:
    assert len(PocketExamples("digits", part, 2000)) == there == len(list(PocketExamples("digits", part, 2000)))
    assert len(PocketExamples("digits", part, 3)) == 3


def test_joined_sequences_read_like_one_list(calls: list[tuple[Any, ...]]) -> None:
    parts = (
        PocketExamples("color", "train", 3),
        PocketExamples("shape", "train", 2),
        PocketExamples("place", "train", 4),
    )
    joined = Joined(parts)
    assert len(joined) == 9 and calls == []
    assert joined[4] is parts[1][1] and calls == [("shape", "train", 2)]
    flat = [example for part in parts for example in part]
    assert [joined[i] for i in range(-9, 9)] == flat * 2
    assert list(joined) == flat and list(joined[2:7]) == flat[2:7]
    assert not Joined(()) and not Joined((PocketExamples("color", "train", 0),))
    for index in (9, -10):
        with pytest.raises(IndexError):
            joined[index]


def test_the_key_knows_what_is_drawn_and_what_draws_it(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = PocketExamples("color", "train", 3).key
    assert key == PocketExamples("color", "train", 3).key
    others = (("shape", "train", 3), ("color", "test", 3), ("color", "train", 4))
    assert key not in {PocketExamples(*other).key for other in others} and calls == []
    pocket.origin.cache_clear()
    monkeypatch.setattr(pocket, "version", lambda library: "of another year")
    assert PocketExamples("color", "train", 3).key != key
    pocket.origin.cache_clear()

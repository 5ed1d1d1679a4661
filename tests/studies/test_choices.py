"""Which levels a choice tries, against trying all of them."""

from __future__ import annotations

from itertools import permutations

import pytest

from holdfast.studies.choices import Choice
from holdfast.studies.grid import Axis
from holdfast.values import JSON

LEVELS = ["a", "b", "c", "d", "e", "f"]


def choice(start: str | None) -> Choice:
    return Choice(Axis("lr", {level: {} for level in LEVELS}), (), {}, "validation_score", start)


def search(chosen: Choice, worth: dict[str, float | str]) -> tuple[str, list[str]]:
    """The level with the best figures of those that the choice asked for, and the order in which it asked."""
    figures: dict[str, JSON | str | None] = {}
    while untried := [level for level in chosen.to_try(figures) if level not in figures]:
        for level in untried:
            value = worth[level]
            figures[level] = value if isinstance(value, str) else {"exact": value, "sources": None, "loss": 0.0}
    there = {level: row for level, row in figures.items() if isinstance(row, dict)}
    return max(there, key=lambda level: float(there[level]["exact"])), list(figures)


def rising_then_falling() -> list[dict[str, float | str]]:
    orders = (order for order in permutations(range(6)) if _one_top(order))
    return [dict(zip(LEVELS, map(float, order), strict=True)) for order in orders]


def _one_top(order: tuple[int, ...]) -> bool:
    top = order.index(5)
    return list(order[:top]) == sorted(order[:top]) and list(order[top:]) == sorted(order[top:], reverse=True)


@pytest.mark.parametrize("start", LEVELS)
def test_one_top_is_found_from_everywhere_and_tried_on_both_sides(start: str) -> None:
    curves = rising_then_falling()
    assert len(curves) == 32  # 2^5: each level below the top stands on its left or on its right
    for worth in curves:
        best, tried = search(choice(start), worth)
        assert best == max(worth, key=lambda level: float(worth[level]))
        place = LEVELS.index(best)
        assert {LEVELS[near] for near in (place - 1, place, place + 1) if 0 <= near < 6} <= set(tried)
        assert start in tried[:2]
        assert len(tried) <= abs(place - LEVELS.index(start)) + 3


def test_without_a_start_all_levels_are_tried() -> None:
    assert search(choice(None), dict.fromkeys(LEVELS, 1.0))[1] == LEVELS


def test_a_level_that_fails_is_passed_by_and_one_not_yet_measured_is_waited_for() -> None:
    best, tried = search(choice("c"), {"a": 9.0, "b": 5.0, "c": "it diverged", "d": "it diverged", "e": 7.0, "f": 8.0})
    assert (best, sorted(tried)) == ("a", ["a", "b", "c", "d"])
    waiting = choice("c").to_try({"b": None, "c": {"exact": 1.0, "sources": None, "loss": 0.0}, "d": None})
    assert waiting == ["b", "c", "d"]

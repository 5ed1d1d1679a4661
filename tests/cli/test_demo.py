"""The demo's recipes have the rates that their rule chooses, none is cut short, and each says how it came out."""

from __future__ import annotations

import re
from typing import Any

import pytest

from holdfast.cli import terminal
from holdfast.cli.demo import Narrator
from holdfast.events import PointEnded, RecipeDone
from holdfast.studies.demo import demo_study

STUDY = demo_study()


def rate_of(recipe: Any) -> float:
    """The one learning rate of all that a recipe tunes."""
    parts = [part for part in recipe.config.tune.model_dump().values() if part["method"] != "frozen"]
    (rate,) = {part["lr"] for part in parts}
    return float(rate)


def test_rates_are_those_that_the_figures_in_their_origin_choose() -> None:
    rates = {recipe.name: rate_of(recipe) for recipe in STUDY.recipes}
    assert len(rates) == 12
    for recipe in STUDY.recipes:
        tried = {
            float(a): float(b) + float(c) for a, b, c in re.findall(r"([\d.]+): ([\d.]+) / ([\d.]+)", recipe.origin)
        }
        assert len(tried) >= 3, recipe.name
        best = max(tried.values())
        chosen = max(value for value, worth in tried.items() if worth >= best - 1)
        if recipe.name == "wise_ft":
            assert recipe.config.model_dump()["fuse"]["alpha"] == max(tried, key=tried.__getitem__)
        elif recipe.name == "full":
            assert rates["full"] == min(value for value in tried if value > chosen)
        else:
            assert rates[recipe.name] == chosen, recipe.name
    assert rates["wise_ft"] == rates["full"]


def test_no_recipe_is_cut_short_by_settings_of_its_own() -> None:
    trains = {recipe.config.train.model_dump_json() for recipe in STUDY.recipes}
    assert len(trains) == 1 and STUDY.recipes[0].config.train.patience == 2
    assert {recipe.config.train.steps for recipe in demo_study(steps=7).recipes} == {7}


@pytest.mark.parametrize("reason", [None, "it failed"])
def test_each_recipe_says_how_it_came_out_in_one_line(reason: str | None) -> None:
    entry = {"name": "lora", "E": 61.4, "F": -0.3, "O": 61.1, "H": 74.9, "learned": 3, "forgot": 2, "seconds": 1.0}
    sides = {"before": 0.0, "after": 61.4, "n": 4, "learned": 3, "forgot": 0}
    entry |= {"trainable": 1, "total": 100, "trainable_percent": 1.0, "target": {"digits": sides}, "sources": {}}
    with terminal.console.capture() as captured, Narrator("A title", 12) as narrator:
        narrator(PointEnded(0, "key", "lora", "scores", reason, 1.0))
        narrator(RecipeDone(entry))
    said = [line.split() for line in captured.get().splitlines() if line.strip()]
    assert said[0] == ["A", "title"] and said[1][:2] == ["[1/12]", "lora"] and len(said) == 2

"""An entry of ``scores.json`` is looked at before anybody counts with it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.verdict.entry import read_entry

TASK = {"before": 10.0, "after": 20, "n": 4, "learned": 1, "forgot": 0}
WHOLE: dict[str, Any] = {
    **{
        "name": "run",
        "method": "lora on llm",
        "trainable": 3,
        "trainable_percent": 0.1,
        "E": 1.0,
        "F": None,
        "O": None,
    },
    **{
        "H": None,
        "learned": 1,
        "forgot": 0,
        "seconds": 2.5,
        "seed": 0,
        "target": {"mine": dict(TASK)},
        "sources": {"a": dict(TASK)},
    },
}


def test_a_whole_one_is_given_back() -> None:
    assert read_entry({"run": WHOLE}, Path("scores.json"), remedy="") == WHOLE


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("E",), {}, "'E' is neither a number nor null"),
        (("O",), float("nan"), "'O' is neither"),
        (("name",), 3, "'name' is no text"),
        (("trainable",), True, "'trainable' is no number"),
        (("target",), {}, "'target' holds no tasks"),
        (("sources", "a"), [], "'sources.a' is no object"),
        (("sources", "a", "after"), "20", "'sources.a.after' is no number"),
        (("left_out",), {"E": 3}, "'left_out' names no tasks"),
        (("leaks",), [{}], "a leak has no sentence"),
    ],
)
def test_an_edited_one_is_refused(path: tuple[str, ...], value: Any, said: str) -> None:
    entry = copy.deepcopy(WHOLE)
    inner = entry
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(HoldfastError) as error:
        read_entry({"run": entry}, Path("scores.json"), remedy="delete it")
    assert said in str(error.value) and "Delete it" in str(error.value)


@pytest.mark.parametrize("recipes", [[], {}, {"a": WHOLE, "b": WHOLE}, {"a": 3}])
def test_no_entry(recipes: Any) -> None:
    with pytest.raises(HoldfastError):
        read_entry(recipes, Path("scores.json"), remedy="")

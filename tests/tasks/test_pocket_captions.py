"""Captions of pocket scenes against what was drawn: by hand, and by inventing captions whose mistakes are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from holdfast.metrics.registry import get_metric
from holdfast.pocket.drawing import random_things
from holdfast.pocket.skills import COLOR_NAMES, article, tell_caption
from holdfast.pocket.tasks import draw
from holdfast.pocket.words import SHAPES
from holdfast.predictions.record import Prediction, Score
from holdfast.runs.folder import RunFolder
from holdfast.runs.hallucinations import hallucinations
from holdfast.tasks.pocket_captions.metric import Mention, absent, mentions
from holdfast.tasks.task import Task

SCENE = "a red circle and a blue ring"


def scored(*captions: str | None, reference: str = SCENE) -> Score:
    items = [Prediction(f"{n:03}", text, (reference,)) for n, text in enumerate(captions)]
    return get_metric("pocket_caption").score(items)


def test_what_a_caption_names() -> None:
    assert mentions("A red circle, and an orange cross.") == [Mention("circle", "red"), Mention("cross", "orange")]
    assert mentions("circle red") == [Mention("circle")]
    assert [str(one) for one in mentions("stripes and tumor tissue , code seven ; seven units")] == [
        "stripes", "tumor tissue", "code seven",
    ]  # fmt: skip
    assert mentions("a red and blue thing") == [] and mentions("a white object") == [Mention("object", "white")]


@pytest.mark.parametrize(
    ("text", "wrong", "left"),
    [
        (SCENE, [], []),
        ("a blue ring", [], ["red circle"]),
        ("a red circle and a red circle", ["red circle"], ["blue ring"]),  # there is one
        ("a blue circle and a red ring", ["blue circle", "red ring"], ["red circle", "blue ring"]),
        ("a circle and a red circle", ["circle"], ["blue ring"]),  # the exact name chooses first
        ("an object and a red object and a blue ring", ["object"], []),
        ("code seven", ["code seven"], ["red circle", "blue ring"]),
    ],
)
def test_what_is_not_there_and_what_is_not_named(text: str, wrong: list[str], left: list[str]) -> None:
    found = absent(mentions(text), mentions(SCENE))
    assert tuple([str(one) for one in part] for part in found) == (wrong, left)


def test_rates_by_hand() -> None:
    result = scored(SCENE, "a red circle", "a red circle and a red cross", "seven", None)
    assert [item.score for item in result.items] == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert [item.status for item in result.items] == ["ok", "ok", "ok", "unparsed", "missing"]
    assert result.items[2].parsed == "red circle, red cross; not there: red cross"
    assert result.score == pytest.approx(40.0)
    expected = {"CHAIRs": 100 / 5, "CHAIRi": 100 / 5, "coverage": 100 * 4 / 10, "silent": 100 * 2 / 5}
    assert result.details == pytest.approx(expected)


def test_invented_mistakes_are_found_one_by_one() -> None:
    """Captions with a known number of looks swapped for looks that no thing of the scene has."""
    rng = np.random.default_rng(5)
    items, wrong_captions, wrong_names, names = [], 0, 0, 0
    for number in range(200):
        things = random_things(rng, int(rng.integers(1, 4)))
        swapped = int(rng.integers(0, len(things) + 1))
        looks = [thing.look for thing in things]
        others = [(c, s) for c in range(len(COLOR_NAMES)) for s in range(len(SHAPES)) if (c, s) not in looks]
        chosen = [others[int(place)] for place in rng.permutation(len(others))[:swapped]]
        told = chosen + looks[swapped:]
        text = " and ".join(f"{article(color)} {COLOR_NAMES[color]} {SHAPES[shape]}" for color, shape in told)
        items.append(Prediction(f"{number:03}", text, (tell_caption(things)[1],)))
        wrong_captions, wrong_names, names = wrong_captions + bool(swapped), wrong_names + swapped, names + len(told)
    details = get_metric("pocket_caption").score(items).details
    assert details["CHAIRs"] == pytest.approx(100 * wrong_captions / 200)
    assert details["CHAIRi"] == pytest.approx(100 * wrong_names / names)
    assert details["silent"] == 0


def test_every_caption_of_the_pocket_world_is_read_whole() -> None:
    for sample in draw("caption", "test", 100):
        assert " and ".join(str(one) for one in mentions(sample.answer)) == " and ".join(
            part.split(" ", 1)[1] for part in sample.answer.split(" and ")
        )


def test_a_run_counts_them_for_its_claims(tmp_path: Path) -> None:
    """Means over the tasks whose metric counts; other tasks are not read."""
    folder = RunFolder(tmp_path)
    told = {
        folder.base_predictions("scenes"): [SCENE, SCENE],
        folder.predictions("scenes"): [SCENE, "a red circle and a green cross"],
    }
    for file, captions in told.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            {"id": str(n), "task": "scenes", "prediction": text, "references": [SCENE]}
            for n, text in enumerate(captions)
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    scenes, other = (
        Task(name, (), (), (), metric=m) for name, m in (("scenes", "pocket_caption"), ("other", "exact_match"))
    )
    assert hallucinations(folder, [scenes, other]) == {
        "hallucinated": 50.0, "hallucinated_before": 0.0, "hallucinated_names": 25.0,
    }  # fmt: skip
    assert hallucinations(folder, [other]) == {}

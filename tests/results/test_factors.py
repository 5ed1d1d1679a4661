"""Main effects and interactions are those of a linear model of the cells."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols

from holdfast.results.factors import interactions, main_effects, matched
from holdfast.results.measured import measured
from tests.support.simulated import draw

EFFECTS = {
    f"{method}/{connector}": {
        "digits": 0.4 + 0.2 * (method == "ia3") + 0.25 * (connector == "tuned") * (method == "ia3"),
        "color": 0.8,
        "count": 0.8 - 0.2 * (connector == "tuned"),
    }
    for method, connector in itertools.product(("lora", "ia3", "full"), ("frozen", "tuned"))
}
AXES = {"method": ("lora", "ia3", "full"), "connector": ("frozen", "tuned")}


def study(seed: int = 2, **more: object):  # type: ignore[no-untyped-def]
    results, changes, _ = draw(seed, effects=EFFECTS, factors=("method", "connector"), seed_spread=0.1, **more)
    return results, changes


def test_main_effects_are_those_of_least_squares() -> None:
    results, changes = study(items=200)
    found = measured(results, "E", changes)
    rows = [
        {"y": point.scores["E"], "method": point.levels["method"], "connector": point.levels["connector"]}
        for point in results.points
    ]
    fit = ols("y ~ C(method, Treatment('lora')) + C(connector, Treatment('frozen'))", pd.DataFrame(rows)).fit()
    theirs = {name.split("[T.")[1].rstrip("]"): value for name, value in fit.params.items() if "[T." in name}
    ours = {row.level: row for row in main_effects(found, AXES)}
    assert {level: row.effect.value for level, row in ours.items()} == pytest.approx(theirs)
    assert [row.cells for row in ours.values()] == [2, 2, 3]
    assert ours["ia3"].p_holm < 0.01 < 0.2 < ours["full"].p_holm


def test_an_interaction_is_found_where_it_is_and_its_parts_add_up_to_nothing() -> None:
    results, changes = study(items=200)
    rows = interactions(measured(results, "E", changes), AXES)
    assert [(row.factor, row.level, dict(row.within)) for row in rows] == [
        ("connector", "tuned", {"method": method}) for method in AXES["method"]
    ]
    special = {row.within["method"]: row for row in rows}
    assert sum(row.interaction.value for row in rows if row.interaction) == pytest.approx(0)
    assert special["ia3"].interaction is not None and special["ia3"].interaction.value > 10
    assert special["ia3"].p_holm < 0.05
    for row in rows:
        cells = {
            c: [
                p.scores["E"]
                for p in results.points
                if p.levels["connector"] == c and p.levels["method"] == row.within["method"]
            ]
            for c in AXES["connector"]
        }
        assert row.effect.value == pytest.approx(np.mean(cells["tuned"]) - np.mean(cells["frozen"]))


def test_a_hole_in_the_grid_leaves_the_matched_pairs() -> None:
    results, changes = study(items=30)
    points = tuple(p for p in results.points if (p.levels["method"], p.levels["connector"]) != ("full", "tuned"))
    found = measured(results.__class__(**{**vars(results), "points": points}), "F", changes)
    assert len(matched(found, "connector", "tuned", "frozen")) == 2
    assert {(row.level, row.cells) for row in main_effects(found, AXES)} == {("ia3", 2), ("full", 1), ("tuned", 2)}

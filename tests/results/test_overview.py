"""From a study folder on disk to sentences and tables; curves and sequences by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from holdfast.results.curves import curves, number_axes, over_trainings, sequences
from holdfast.results.items import ITEMS
from holdfast.results.overview import aggregate, sections
from holdfast.results.points import Point, read_items, read_results
from holdfast.results.tables import FORMATS, rendered
from holdfast.verdict.compare import compare
from tests.support.simulated import draw, write_folder

EFFECTS = {
    "good": {"digits": 0.9, "color": 0.88, "count": 0.88},
    "bad": {"digits": 0.3, "color": 0.4, "count": 0.5},
    "poor": {"digits": 0.3, "color": 0.4, "count": 0.5},
}


def test_the_items_of_a_folder_are_those_of_its_predictions(tmp_path: Path) -> None:
    results, changes, _ = draw(effects=EFFECTS, items=30, questions=2, seeds=2)
    folder = write_folder(tmp_path, results, changes)
    read = read_results(folder)
    made = read_items(read)
    assert (folder / ITEMS).is_file()
    again = read_items(read)
    for key, tasks in changes.items():
        for task, of in tasks.items():
            for found in (made[key][task], again[key][task]):
                assert sorted(zip(found.sizes, found.change, strict=True)) == sorted(
                    zip(of.sizes, of.change, strict=True)
                )
        run = folder / "points" / key
        theirs = compare(run / "base", run, target="digits").tasks["digits"].difference
        assert made[key]["digits"].change.sum() / made[key]["digits"].sizes.sum() == pytest.approx(theirs)
    first = next(iter(changes))
    for file in (folder / "points" / first / "predictions").iterdir():
        file.unlink()
    assert read_items(read).keys() == made.keys()  # the store knows it still
    (folder / ITEMS).unlink()
    assert read_items(read).keys() == made.keys() - {first}


def test_a_damaged_store_is_made_again(tmp_path: Path) -> None:
    results, changes, _ = draw(effects=EFFECTS, items=20, seeds=2)
    folder = write_folder(tmp_path, results, changes, index=True)
    read = read_results(folder)
    whole = read_items(read)
    text = (folder / ITEMS).read_text()
    for damage in (text[: len(text) // 2], "", "\x00", text.replace('["', '[["'), text.replace('"b', '"q')):
        (folder / ITEMS).write_text(damage)
        found = read_items(read)
        assert found.keys() == whole.keys()
        assert all((found[k][t].change == whole[k][t].change).all() for k in whole for t in whole[k])


def test_costs_and_divergences_are_means_over_the_runs_that_know_them() -> None:
    results, changes, _ = draw(effects=EFFECTS, items=20, seeds=2)
    plain = aggregate(results, changes)
    assert not {"costs", "divergence", "captions"} & {
        table.name for section in sections(plain) for table in section.tables
    }
    points = list(results.points)
    own = [place for place, point in enumerate(points) if point.levels["method"] == "good"]
    for place, peak in zip(own, (3e6, 5e6), strict=True):
        scores = {
            **points[place].scores,
            "memory": 2_000_000,
            "peak_memory": int(peak),
            "kl_to_base": peak / 1e6,
            "hallucinated": peak / 1e5,
        }
        points[place] = replace(points[place], scores=scores)
    told = sections(aggregate(replace(results, points=tuple(points)), changes))
    tables = {table.name: table for section in told for table in section.tables}
    costs = {row[0]: row[3:] for row in tables["costs"].rows}
    assert costs == {"good": (2.0, 4.0), "bad": (None, None), "poor": (None, None)}
    assert "known of 2 of 6 runs" in tables["costs"].notes[0]
    assert {row[0]: row[1] for row in tables["divergence"].rows} == {"good": 4.0, "bad": None, "poor": None}
    assert {row[0]: row[2] for row in tables["captions"].rows} == {"good": 40.0, "bad": None, "poor": None}


def test_a_study_is_told_in_sentences_and_tables() -> None:
    results, changes, _ = draw(effects=EFFECTS, items=100, seed_spread=0.1)
    failed = Point("f" * 16, {"method": "poor", "target": "digits", "seed": "9"}, "failed", "no memory", {}, Path("x"))
    whole = aggregate(replace(results, points=(*results.points, failed)), changes)
    assert whole.standings[0].name == "good" and whole.standings[0].rank == (1, 1)
    assert {s.rank for s in whole.standings[1:]} == {(2, 3)}
    told = sections(whole)
    text = "\n".join(line for section in told for line in section.sentences)
    assert "9 of 10 points are finished, 1 failed." in text
    assert "good has the highest sum of gain and loss (O), clearly above every other recipe." in text
    tables = {table.name: table for section in told for table in section.tables}
    assert {"recipes", "pairs", "sources", "failed"} <= tables.keys()
    assert [row[-1] for row in tables["pairs"].rows] == ["yes", "yes", "no"]
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all(rendered(table, form) for form in FORMATS)


def test_one_seed_says_that_it_is_one() -> None:
    results, changes, _ = draw(effects=EFFECTS, items=50, seeds=1)
    told = sections(aggregate(results, changes))
    assert "With one seed the intervals carry items only" in " ".join(told[0].sentences)
    (pairs,) = [table for section in told for table in section.tables if table.name == "pairs"]
    assert pairs.rows and all(row[3] is None and row[4] == "no" for row in pairs.rows)
    assert pairs.notes == ("The intervals carry the items of one training each, so no pair is tested.",)


@pytest.mark.parametrize(
    ("left", "letter"), [({"sources": {}, "F": None, "O": None}, "E"), ({"E": None, "O": None}, "F"), (None, "O")]
)
def test_a_study_without_sources_gains_or_points_is_told_too(left: dict[str, object] | None, letter: str) -> None:
    results, changes, _ = draw(effects=EFFECTS, items=40, seed_spread=0.05)
    points = [] if left is None else [replace(p, scores={**p.scores, **left}) for p in results.points]
    if letter == "F":
        for point in points:
            point.scores["left_out"] = {"E": ["digits"], "F": []}
    whole = aggregate(replace(results, points=tuple(points)), changes)
    assert whole.ranked_by == letter
    told = sections(whole)
    assert all(rendered(table, form) for section in told for table in section.tables for form in FORMATS)
    if points:
        assert whole.standings[0].name == "good" and f"difference in {letter}" in [
            column.name for section in told for table in section.tables for column in table.columns
        ]


def test_means_of_other_targets_are_not_set_beside_each_other_in_silence() -> None:
    effects = {name: {**after, "tissue": 0.1} for name, after in EFFECTS.items()}
    results, changes, _ = draw(effects=effects, targets=("digits", "tissue"), items=30)
    told = "good finished on other levels of target than the rest"
    assert told not in " ".join(sections(aggregate(results, changes))[0].sentences)
    points = tuple(p for p in results.points if (p.levels["method"], p.levels["target"]) != ("good", "tissue"))
    whole = aggregate(replace(results, points=points), changes)
    assert told in " ".join(sections(whole)[0].sentences)
    good = whole.measures["E"].contrast({0: 1.0, 1: -1.0})
    scores = {
        name: [p.scores["E"] for p in points if p.levels["method"] == name and p.levels["target"] == "digits"]
        for name in ("good", "bad")
    }
    assert good is not None and good.value == pytest.approx(np.mean(scores["good"]) - np.mean(scores["bad"]))


def test_a_curve_follows_the_numbers_of_its_axis() -> None:
    effects = {
        f"lora/{steps}": {"digits": 0.2 + 0.2 * n, "color": 0.9 - 0.2 * n, "count": 0.9}
        for n, steps in enumerate((50, 150, 450))
    }
    results, changes, _ = draw(effects=effects, factors=("method", "train.steps"), items=400, seed_spread=0.05)
    results = replace(results, axes=results.axes | {"train.steps": ("450", "50", "150")})
    assert number_axes(results) == ["train.steps"]
    (curve,) = curves(results, changes, "train.steps")
    assert curve.recipe == {"method": "lora"} and [point.at for point in curve.points] == [50, 150, 450]
    E, F, kept = (np.array([getattr(point, name).value for point in curve.points]) for name in ("E", "F", "kept"))
    assert (np.diff(E) > 10).all() and (np.diff(F) < -5).all() and (np.diff(kept) < -5).all()
    assert 95 < kept[0] < 105


def test_a_sequence_has_its_measures_over_seeds() -> None:
    R = {"1": [[80, 10], [50, 90]], "2": [[70, 20], [60, 80]]}
    base = {"A": 5.0, "B": 0.0}
    points = tuple(
        Point(
            f"{seed}{stage}",
            {"method": "lora", "stage": "AB"[stage], "seed": seed},
            "finished",
            None,
            {
                "E": 0.0,
                "F": 0.0,
                "target": {"AB"[stage]: {"before": base["AB"[stage]], "after": R[seed][stage][stage]}},
                "sources": {"AB"[1 - stage]: {"before": base["AB"[1 - stage]], "after": R[seed][stage][1 - stage]}},
            },
            Path("x"),
        )
        for seed in R
        for stage in (0, 1)
    )
    results, _, _ = draw(effects=EFFECTS, seeds=1)
    axes = {"method": ("lora",), "stage": ("A", "B"), "seed": ("1", "2")}
    (found,) = sequences(replace(results, axes=axes, points=points))
    assert found.tasks == ("A", "B")
    assert found.average.value == pytest.approx(70) and found.backward.value == pytest.approx((-30 - 10) / 2)
    assert found.forgetting.value == pytest.approx(20) and found.forward.value == pytest.approx(15)
    assert found.backward.interval() == pytest.approx(over_trainings([[-30, -10]]).interval())
    (cut,) = sequences(replace(results, axes=axes, points=points[:3]))
    assert set(cut.measures) == {"1"}

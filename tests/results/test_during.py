"""E and F over training: each moment has the figures of a study whose runs end there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.results.curves import CurvePoint, retained
from holdfast.results.during import over_training
from holdfast.results.measured import measured
from holdfast.results.overview import aggregate, sections
from holdfast.results.points import Results, read_items, read_results
from holdfast.results.variance import Effect
from tests.support.study_folder import look_during, make_study


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of 50 and of 150 steps, each for itself."""
    folder = tmp_path_factory.mktemp("study")
    return make_study(folder, methods=("full", "lora"), targets=("digits",), seeds=(1, 2, 3), items=20, failed=False)


@pytest.fixture(scope="module")
def ended(apart: Path) -> dict[int, Results]:
    """Those of one length, as a study of its own."""
    whole = read_results(apart)
    return {
        steps: replace(whole, points=tuple(p for p in whole.points if p.levels["train.steps"] == str(steps)))
        for steps in (50, 150)
    }


def same(found: Effect | None, wanted: Effect | None) -> bool:
    assert found is not None and wanted is not None
    return (found.value, found.interval(), found.basis) == (wanted.value, wanted.interval(), wanted.basis)


def test_a_moment_has_the_figures_of_the_runs_that_end_there(apart: Path, ended: dict[int, Results]) -> None:
    """Value, interval over items and seeds, and retention, of both lengths; the base is exactly nothing."""
    wanted: dict[tuple[str, int], CurvePoint] = {}
    for steps, results in ended.items():
        items, kept = read_items(results), retained(results)
        E, F = (measured(results, letter, items) for letter in "EF")
        for row, recipe in enumerate(E.recipes):
            wanted[recipe[0], steps] = CurvePoint(steps, E.mean(row), F.mean(row), kept[recipe])
    results = read_results(look_during(apart))
    curves = over_training(results, read_items(results))
    assert [curve.recipe["method"] for curve in curves] == ["full", "lora"]
    for curve in curves:
        first, *others = curve.points
        assert first.at == 0 and first.E is not None and first.F is not None
        assert (first.E.value, first.E.interval(), first.F.value) == (0.0, (0.0, 0.0), 0.0)
        assert [point.at for point in others] == [50, 150]
        for point in others:
            own = wanted[curve.recipe["method"], int(point.at)]
            assert own.E is not None and own.E.basis == "items and seeds"
            assert same(point.E, own.E) and same(point.F, own.F) and same(point.kept, own.kept)
    again = over_training(results, read_items(results))  # from the store
    assert again == curves and "@50" in (apart / "items.jsonl").read_text("utf-8")
    told = {
        table.name: table for section in sections(aggregate(results, read_items(results))) for table in section.tables
    }
    assert [row[:2] for row in told["during"].rows] == [(m, s) for m in ("full", "lora") for s in ("50", "150")]


def test_without_moments_there_is_no_curve(tmp_path: Path) -> None:
    results = read_results(make_study(tmp_path, methods=("full",), targets=("digits",), items=5, failed=False))
    assert over_training(results, read_items(results)) == []

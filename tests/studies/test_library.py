"""Every study that ships can be planned at every scale; its claims, targets and published cells are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.methods.recipe import Recipe
from holdfast.metrics.registry import get_metric
from holdfast.results.claims.catalogue import all_claims, find_claim
from holdfast.studies.agenda import Planner
from holdfast.studies.estimate import estimate
from holdfast.studies.library import find_study, shipped_names
from holdfast.studies.studyfile import StudyFile, read_study_file, scales_of
from holdfast.tasks.cards import card_names

SCALES = [(name, scale) for name in shipped_names() for scale in (scales_of(find_study(name)[0]) or [""])]


def shipped(name: str, scale: str, **options: object) -> StudyFile:
    file, base = find_study(name)
    return read_study_file(file, scale=scale or None, base=base, **options)  # type: ignore[arg-type]


def test_both_papers_are_there() -> None:
    names = shipped_names()
    assert sum(name.startswith("peft_") for name in names) == 10
    assert sum(name.startswith("keeping_") for name in names) == 8
    for name in names:
        if name != "fair_methods":
            scales = list(scales_of(find_study(name)[0]))
            assert scales[0] == "pocket" and "paper" in scales


@pytest.mark.parametrize(("name", "scale"), SCALES)
def test_every_recipe_of_it_is_one(name: str, scale: str) -> None:
    study = shipped(name, scale)
    if scale == "real":
        with pytest.raises(HoldfastError, match=r"has no model of its own\. Give one with --set model="):
            Planner(study)
        study = replace(study, common={**study.common, "model": "pocket"})
    agenda = Planner(study).agenda(lambda key: {"loss": 0.0, "exact": 0.0, "sources": {}})
    assert len(agenda.points) == len(study.cells)
    assert len({point.key for point in agenda.points}) == len(agenda.points)
    recipes = {}
    for job in agenda.jobs.values():
        config = load_config(job.config)
        recipes[repr((config.tune, config.keep, config.fuse))] = config
        assert config.target is not None and config.sources
        names = {config.target.name or config.target.data, *(source.name or source.data for source in config.sources)}
        assert len(names) == 1 + len(config.sources), job.title
        if scale == "paper":
            cards = {spec.data for spec in (config.target, *config.sources)}
            assert cards <= set(card_names()), "the paper scale names task cards"
    for config in recipes.values():
        Recipe(config)


@pytest.mark.parametrize("scale", ["pocket", "real"])
def test_what_a_claim_reads_is_measured(scale: str) -> None:
    """A claim on divergences in a study whose runs measure none would never be tried."""
    file, base = find_study("keeping_paradigms")
    study = read_study_file(file, scale=scale, base=base)
    assert "kl_predicts" in study.claims
    assert all(study.settings(cell)["evaluate"]["kl"] for cell in study.cells)


def test_the_study_of_captions_counts_what_its_claim_reads() -> None:
    study = shipped("peft_hallucination", "pocket")
    assert study.claims == ["h13"] and find_claim("h13").tests[0].measure == "hallucinated"
    for cell in study.cells:
        (source,) = study.settings(cell)["sources"]
        assert source["data"] == "pocket:caption" and get_metric(source["metric"]).hallucinations  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", shipped_names())
def test_its_claims_are_in_the_catalogue_and_its_groups_are_levels(name: str) -> None:
    for scale in scales_of(find_study(name)[0]) or [""]:
        study = shipped(name, scale, expand=False)
        assert set(study.claims) <= set(all_claims())
        for axis, groups in study.groups.items():
            # A study of fewer targets than its scale has keeps the names of the groups.
            assert {level for levels in groups.values() for level in levels} & set(study.axes[axis].levels)


@pytest.mark.parametrize("name", shipped_names())
def test_published_rows_fit_their_columns(name: str) -> None:
    """Every row that ends in a mean has the mean of its cells, to rounding: a mistyped cell shows."""
    published = shipped(name, "pocket" if name != "fair_methods" else "", expand=False).published
    for title, table in published.items():
        if not isinstance(table, dict) or "columns" not in table:
            continue
        columns = table["columns"]
        for row, cells in table["rows"].items():
            assert len(cells) == len(columns), f"{title}: {row}"
            if columns[-1] == "mean" and None not in cells:
                assert sum(cells[:-1]) / (len(cells) - 1) == pytest.approx(cells[-1], abs=0.11), f"{title}: {row}"


NO_WEIGHT_TO_PULL = {"keeping_stabilisers": ("stabiliser 'ewc' pulls trained", "stabiliser 'l1_sp' pulls trained")}
"""Study -> how the sentences begin that say which of its points cannot be: those on LoRA."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in shipped_names() if name != "fair_methods"])
def test_the_pocket_scale_is_planned_whole(name: str) -> None:
    found = estimate(shipped(name, "pocket"))
    assert all(problem.startswith(NO_WEIGHT_TO_PULL.get(name, "none")) for problem in found.problems)
    assert found.unknown == 0
    assert found.trainable[1] > 0 and 1e6 < found.memory < 1e9


@pytest.mark.parametrize("name", ["peft_main", "keeping_fusions"])
def test_the_paper_scale_is_planned_without_downloads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    options = {
        "peft_main": ["axes.method=[ia3, none]", "axes.model=[small]"],
        "keeping_fusions": ["axes.method=[last]", "axes.target=[iconqa_txt]"],
    }
    found = estimate(shipped(name, "paper", overrides=options[name]))
    assert found.problems == {} and found.unknown == 0
    # LLaVA-1.5-7B: IA3 trains 614,400 values, with the connector 20,979,712 more (the paper's table 15 by counting).
    if name == "peft_main":
        assert found.trainable == (614_400, 614_400 + 20_979_712)
    assert found.memory > 14e9


def test_parameter_matched_places_train_as_much(tmp_path: Path) -> None:
    counts = {}
    for place in ("attention", "mlp", "both"):
        for method in ("lora", "adapter"):
            overrides = [f"axes.location=[{place}]", f"axes.method=[{method}]", "axes.seed=[1]", "axes.target=[digits]"]
            study = replace(shipped("peft_location_matched", "pocket", overrides=overrides), choices=())
            counts[method, place] = estimate(study).trainable[0]
    assert len({count for (method, _), count in counts.items() if method == "lora"}) == 1
    assert len({count for (method, _), count in counts.items() if method == "adapter"}) == 1

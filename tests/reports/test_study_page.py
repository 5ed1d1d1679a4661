"""The page of a study: its figures, what is escaped, what it weighs, and what it asks of the world."""

from __future__ import annotations

import json
import re
import statistics
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.reports.numbers import between
from holdfast.reports.run_details import run_details
from holdfast.reports.study import inlined, write_study_page
from holdfast.reports.study.claims import claims_sentence
from holdfast.reports.study.figures import paradigm_of, study_figures
from holdfast.reports.study.more import gathered, ranks_of
from holdfast.reports.study.published import published_sections
from holdfast.reports.study.sentences import front_of, study_sentences
from holdfast.reports.study.tables import recipe_columns, recipe_rows
from holdfast.results.claims.trial import put_on_trial
from holdfast.results.during import over_training
from holdfast.results.measured import measured
from holdfast.results.points import Results, read_items, read_results
from tests.reports.test_explorer import NASTY, Page, page_of
from tests.support.study_folder import look_during, make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("study"), items=12)


@pytest.fixture(scope="module")
def results(study: Path) -> Results:
    return read_results(study)


@pytest.fixture(scope="module")
def page(results: Results) -> Page:
    return page_of(write_study_page(results, results.folder))


def test_a_recipe_is_its_levels_and_its_figures_are_means_over_targets_then_seeds(results: Results) -> None:
    figures = study_figures(results)
    assert figures.names[:3] == ("full / 50", "full / 150", "lora / 50")
    assert [view.name for view in figures.views] == ["all", "digits", "letters"]
    full = figures.whole.recipes[0]
    own = {(p.levels["target"], p.levels["seed"]): p.scores["E"] for p in results.points[:4]}
    seeds = [(own["digits", seed] + own["letters", seed]) / 2 for seed in "12"]
    assert full.E.values == pytest.approx(seeds) and full.E.mean == pytest.approx(statistics.fmean(seeds))
    last = figures.whole.recipes[-1]
    assert last.missing == 1 and len(last.runs) == 2  # both runs on letters are not finished
    assert figures.whole.targets == ("digits", "letters") and figures.whole.sources == ("color", "count")


def test_intervals_are_those_of_the_results(results: Results) -> None:
    items = read_items(results)
    figures = study_figures(results, items)
    for letter in "EFO":
        one = measured(results, letter, items)
        for recipe in figures.whole.recipes:
            effect = one.mean(one.recipes.index(tuple(recipe.levels.values())))
            shown = getattr(recipe, letter)
            assert effect is not None and shown.interval == effect.interval() and shown.mean == effect.value
            assert shown.basis == "items and seeds"
    digits = measured(results, "E", items, {"target": ["digits"]}).mean(0)
    assert digits is not None and figures.views[1].recipes[0].E.interval == digits.interval()
    assert study_figures(results).whole.recipes[0].E.basis == "seeds"


def test_paradigms_beyond_the_three_have_marks_of_their_own() -> None:
    written = ("selective", "additive + selective", "nothing", "")
    assert [paradigm_of({"paradigm": word}) for word in written] == ["selective", "mixed", "baseline", "baseline"]


def test_the_page_opens_with_who_learned_most_and_who_kept_it(results: Results, page: Page) -> None:
    figures = study_figures(results, read_items(results))
    told = study_sentences(figures)
    most = max(figures.whole.placed, key=lambda recipe: recipe.E.mean or 0)
    assert told[0].startswith(f"{most.name} gained most")
    assert "30 of 32 runs finished, 1 failed, 1 not run yet." in " ".join(told)
    assert most in front_of(figures.whole.placed)
    text = page.text
    assert text.index(told[0]) < text.index("As a table")


def test_a_recipe_with_fewer_targets_is_not_held_against_the_others(results: Results) -> None:
    points = tuple(
        replace(point, scores={**point.scores, "E": 99.0, "O": 99.0})
        if point.scores and (point.levels["method"], point.levels["train.steps"]) == ("ia3", "150")
        else point
        for point in results.points
    )
    figures = study_figures(replace(results, points=points))
    told = study_sentences(figures)
    incomplete = figures.whole.recipes[-1]
    assert incomplete.missing == 1 and not told[0].startswith(incomplete.name)
    assert f"because runs on some targets are missing: {incomplete.name}." in " ".join(told)


def test_every_figure_stands_in_a_table_too(page: Page) -> None:
    text = page.text
    for word in ("What each recipe did to each task", "Before and after", "Along train.steps", "Stability over seeds"):
        assert word in text
    assert text.count("As a table") >= 6
    assert "the loss is not a number at step 12" in text


def test_claims_stand_with_their_ruling_and_the_published_figure(results: Results, page: Page) -> None:
    trials = put_on_trial(results, read_items(results), results.claims)
    text = page.text
    assert {trial.ruling for trial in trials} == {"not resolved at this scale", "not tested here"}
    for trial in trials:
        assert re.sub(r"\s+", " ", trial.claim.sentence) in text and trial.claim.name in text
    assert claims_sentence(trials) in text
    assert "Of 1 claims on trial 0 are supported and 0 contradicted; 1 are not" in claims_sentence(
        [trial for trial in trials if trial.ruling == "not resolved at this scale"][:1]
    )


def test_published_cells_stand_beside_ours_of_the_same_name(results: Results, page: Page) -> None:
    recipes = study_figures(results).whole.recipes
    (section,) = published_sections(results.published, recipes)
    lora = next(recipe for recipe in recipes if recipe.name == "lora / 150")
    assert section.columns == ["published", "unseen", "seen", "ours, E", "ours, F"]
    ours = [f"{spread.mean:+.1f}".replace("-", "−") for spread in (lora.E, lora.F)]
    assert section.rows == [["150 LoRA", "76.1", "–", *ours], ["HFT", "−2.5", "41", "–", "–"]]
    assert section.text.startswith("Differs: scale.") and section.lines == ["Differs: the items."]
    assert "Published: Table 1" in page.text
    (plain,) = published_sections({"note": "nothing is known"}, recipes)
    assert plain.lines == ["Note: nothing is known."] and published_sections({}, recipes) == []


def test_recipes_that_cannot_be_told_apart_share_a_rank(results: Results) -> None:
    whole = gathered(results, read_items(results))
    assert whole is not None
    ranks = ranks_of(whole)
    figures = study_figures(results)
    rows = recipe_rows(figures.whole, recipe_columns(figures, ranks=True), ranks)
    assert [row.cells[0].text for row in rows] == [ranks[tuple(r.levels.values())][0] for r in figures.whole.recipes]
    assert recipe_columns(figures, ranks=True)[0][0] == "rank" and recipe_columns(figures, ranks=False)[0][0] == "E"
    assert any("-" in text for text, _ in ranks.values())


def test_the_picture_for_papers_is_written_beside(results: Results, page: Page) -> None:
    assert (results.folder / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (results.folder / "pareto.svg").read_text(encoding="utf-8")


def test_nothing_is_asked_of_any_network(results: Results, page: Page) -> None:
    html = (results.folder / "report.html").read_text(encoding="utf-8")
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "http://" not in html and "https://" not in html and "@import" not in html
    assert "default-src 'none'" in html
    assert len(html) < 1_500_000


def test_every_run_is_known_to_the_script_and_most_stand_whole(page: Page) -> None:
    study, index = json.loads(page.data["study"][1]), page.block("index")
    assert len(study["runs"]["key"]) == 30 and len(study["recipes"]) == 8
    assert {run["name"] for run in index["recipes"]} <= set(study["runs"]["key"])
    assert len(index["recipes"]) == 30 and index["key"] == "run"
    tasks = index["recipes"][0]["tasks"]
    assert [task["role"] for task in tasks] == ["target", "source", "source"]


def test_e_and_f_over_training_are_drawn_where_runs_were_looked_at(page: Page, tmp_path: Path) -> None:
    assert "#training" not in page.links
    folder = make_study(tmp_path, methods=("full", "lora"), targets=("digits",), items=12, failed=False)
    results = read_results(look_during(folder))
    curves = over_training(results, read_items(results))
    html = write_study_page(results, folder).read_text("utf-8")
    section = html[html.index('id="training"') :].partition("</section>")[0]
    assert 'href="#training"' in html and section.count("<svg") == 2
    for curve in curves:
        for letter in ("E", "F"):
            at_50 = getattr(curve.points[1], letter)
            tip = f"{at_50.value:.1f} ({between(at_50.interval())})".replace("-", "−")
            assert tip in section, (curve.recipe, letter, tip)
    run = folder / "points" / results.points[0].key
    (own,) = [made for made in run_details(run) if made.title == "Over training"]
    assert own.text == "Asking took 4 s beside the training." and len(own.charts) == 1
    entry = results.points[0].scores
    shown = [f"{row['E']:.1f}" for row in entry["during"]]
    assert own.charts[0].columns[1:] == ("0", "50", "150") and list(own.charts[0].rows[0][1:]) == shown


def test_names_of_a_stranger_stay_text(results: Results, tmp_path: Path) -> None:
    axis = f"method {NASTY}"
    points = tuple(
        replace(
            point,
            levels={axis: NASTY, "target": NASTY, "seed": point.levels["seed"]},
            reason=point.reason and NASTY,
            scores=point.scores and {**point.scores, "method": NASTY, "target": {NASTY: row_of(point.scores)}},
        )
        for point in results.points[:4] + results.points[-1:]
    )
    axes = {axis: (NASTY, "other"), "target": (NASTY,), "seed": ("1", "2")}
    nasty = replace(results, title=NASTY, about=NASTY, axes=axes, points=points)
    path = write_study_page(nasty, tmp_path)
    html = path.read_text(encoding="utf-8")
    assert "<script>document" not in html and "<img src=x" not in html and 'onerror="' not in html
    assert page_of(path).tags.count("script") == len(re.findall(r"<script type=\"application", html)) + 1


def row_of(scores: dict[str, object]) -> object:
    (row,) = scores["target"].values()  # type: ignore[attr-defined]
    return row


def test_what_does_not_fit_is_linked_or_named(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inlined, "MOST_RUNS", 3)
    other = results.points[0].folder / "report.html"
    other.write_text("<p>a page</p>", encoding="utf-8")
    page = page_of(write_study_page(results, results.folder.parent))
    other.unlink()
    study, index = json.loads(page.data["study"][1]), page.block("index")
    assert len(index["recipes"]) == 3 and "27 finished runs stand in their own folders only" in page.text
    inside = {run["name"] for run in index["recipes"]}
    pages = dict(zip(study["runs"]["key"], study["runs"]["page"], strict=True))
    first = results.points[0].key
    assert first in inside or pages[first] == f"{results.folder.name}/points/{first}/report.html"
    monkeypatch.setattr(inlined, "MOST_TEXT", 6_000)
    fewer = page_of(write_study_page(results, tmp_path)).block("index")["recipes"]
    assert len(fewer) < 3


def test_a_study_without_a_finished_point_says_so(results: Results, tmp_path: Path) -> None:
    waiting = tuple(replace(point, state="waiting", scores={}) for point in results.points)
    page = page_of(write_study_page(replace(results, points=waiting), tmp_path))
    assert "0 of 32 runs finished, 32 not run yet." in page.text and "svg" in page.tags


def test_what_has_not_run_yet_makes_no_view_and_no_recipe_incomplete(results: Results) -> None:
    waiting = tuple(
        replace(point, state="waiting", scores={}) if point.levels["target"] == "letters" else point
        for point in results.points
    )
    figures = study_figures(replace(results, points=waiting))
    assert [view.name for view in figures.views] == ["all"] and figures.whole.title == "digits"
    assert not any(recipe.missing for recipe in figures.whole.recipes)
    apart = [replace(p, levels={k: v for k, v in p.levels.items() if k != "target"}) for p in waiting]
    axes = {axis: levels for axis, levels in results.axes.items() if axis != "target"}
    alone = study_figures(replace(results, points=tuple(apart), axes=axes))
    assert [view.title for view in alone.views] == ["digits"]
    assert not any("missing" in sentence for sentence in study_sentences(alone))


def test_a_study_in_which_nothing_moved_is_drawn_without_a_warning(results: Results, tmp_path: Path) -> None:
    still = replace(results.points[0], scores={**results.points[0].scores, "E": 0.0, "F": 0.0, "O": 0.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = page_of(write_study_page(replace(results, points=(still,)), tmp_path, items={}))
    assert "No recipe gained on the target digits" in page.text and "No interval is known." in page.text

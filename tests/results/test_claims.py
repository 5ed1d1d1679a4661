"""Claims on trial against studies whose truth is known."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from holdfast.errors import HoldfastError
from holdfast.results.claims.catalogue import all_claims, find_claim, read_claims
from holdfast.results.claims.trial import ClaimTrial, put_on_trial
from holdfast.results.items import Tasks
from holdfast.results.points import Results
from tests.support.simulated import draw

PEFT = [f"h{number}" for number in range(1, 16)]
LATER = ["attention_only", "dowser", "low_rate", "kl_predicts", "kl_without_target"]


def study(effects: dict[str, float], *factors: str, seed: int = 0, **more: Any) -> tuple[Results, dict[str, Tasks]]:
    """Recipes whose target score after tuning is given; the sources stay."""
    worlds = {name: {"digits": after, "color": 0.85, "count": 0.85} for name, after in effects.items()}
    results, changes, _ = draw(seed, effects=worlds, factors=factors, **({"items": 300, "seed_spread": 0.05} | more))
    return results, changes


def ruling(name: str, results: Results, items: dict[str, Tasks]) -> ClaimTrial:
    (trial,) = put_on_trial(results, items, [name])
    return trial


def test_every_claim_of_the_issue_is_there_with_its_source() -> None:
    claims = all_claims()
    assert {*PEFT, *LATER} <= claims.keys() and len([name for name in claims if name.startswith("k")]) > 5
    for claim in claims.values():
        assert claim.sentence.endswith(".") and claim.paper.startswith("arXiv") and claim.where and claim.published
        assert claim.tests and all(test.margin >= 0 for test in claim.tests)


@pytest.mark.parametrize("name", sorted(all_claims()))
def test_every_claim_is_tested_by_a_study_that_has_its_levels(name: str) -> None:
    """And by none that lacks one of its axes: it then says what it needs."""
    needed: dict[str, dict[str, None]] = {"target": {"digits": None, "tissue": None}}
    for test in find_claim(name).tests:
        sides = [test.levels, test.within, *([] if isinstance(test.against, str) else [test.against])]
        for axis, levels in (pair for side in sides for pair in side.items()):
            row = needed.setdefault(axis.split("|")[0], {})
            words = [level.split("|")[0] for level in levels]
            numbers = {"first", "last", "next", "previous"} & set(words)
            row |= dict.fromkeys(["1", "2", "3"] if numbers else words if axis != "target" else [])
            if test.against == "others":
                row |= dict.fromkeys([*row, "4" if numbers else "another"])
        if test.says == "follows":
            needed["method"] = dict.fromkeys("abcdef")
    needed.setdefault("method", {"lora": None})
    targets = tuple(needed.pop("target"))
    models = tuple(needed.pop("model", ()))
    recipes = {"/".join(levels): 0.5 for levels in itertools.product(*needed.values())}
    worlds = {recipe: dict.fromkeys((*targets, "color", "count"), 0.5) for recipe in recipes}
    results, items, _ = draw(effects=worlds, factors=tuple(needed), targets=targets, seeds=3, items=30)
    points = []
    for number, point in enumerate(results.points):
        point.scores.update(hallucinated=float(number % 7), kl_to_base=float(number % 11))
        for model in models or ("",):
            levels = dict(point.levels) | ({"model": model} if models else {})
            points.append(replace(point, levels=levels, scores=dict(point.scores)))
    axes = dict(results.axes) | ({"model": models} if models else {})
    groups = {"target": {"seen": ("tissue",), "unseen": ("digits",)}}
    whole = replace(results, points=tuple(points), axes=axes, groups=groups)
    trial = ruling(name, whole, items)
    assert trial.parts, trial.missing
    assert len(trial.parts) >= len(find_claim(name).tests)
    for axis in needed:
        if len(needed[axis]) > 1 and axis != "method" and find_claim(name).tests[0].says != "follows":
            cut = replace(whole, axes={a: levels for a, levels in axes.items() if a != axis})
            trial = ruling(name, cut, items)
            assert trial.ruling == "not tested here" and trial.missing is not None
            assert f"it needs {trial.missing}." in trial.sentence


def test_a_true_claim_is_supported_and_a_false_one_contradicted() -> None:
    pairs = {"lora/frozen": 0.4, "lora/tuned": 0.6, "ia3/frozen": 0.5, "ia3/tuned": 0.7}
    results, items = study(pairs, "method", "connector", seeds=4)
    trial = ruling("h1", results, items)
    assert trial.ruling == "supported" and trial.p_holm < 0.01
    (part,) = trial.parts
    assert part.pairs == 2 and 14 < part.value < 26 and part.margin == 1.0
    assert trial.sentence.startswith(
        "h1 is supported: E of connector tuned less connector frozen on target digits is +"
    )
    turned = {
        name.replace("tuned", "x").replace("frozen", "tuned").replace("x", "frozen"): v for name, v in pairs.items()
    }
    assert ruling("h1", *study(turned, "method", "connector", seeds=4)).ruling == "contradicted"


def test_an_effect_below_what_counts_contradicts_and_a_wide_interval_resolves_nothing() -> None:
    same = {"lora/frozen": 0.5, "lora/tuned": 0.5}
    sharp = study(same, "method", "vision", seeds=12, items=2000, seed_spread=0.002, own=0.05)
    assert ruling("h14", *sharp).ruling == "supported"  # no more than one point: shown
    blunt = study(same, "method", "vision", seeds=2, items=40)
    assert ruling("h14", *blunt).ruling == "not resolved at this scale"


def test_the_best_of_several_must_beat_each() -> None:
    others = {"lora": 0.4, "ia3": 0.4, "prefix": 0.4}
    assert ruling("h15", *study({"adapter": 0.7, **others}, "method", seeds=4)).ruling == "supported"
    trial = ruling("h15", *study({"adapter": 0.7, **others, "lora": 0.85}, "method", seeds=4))
    assert trial.ruling == "contradicted" and len(trial.parts) == 3
    assert trial.weakest is not None and "method lora" in trial.weakest.words
    assert "the weakest of 3 comparisons" in trial.sentence
    blunt = ruling("h15", *study({"adapter": 0.7, **others, "lora": 0.69}, "method", seeds=2, items=40))
    assert blunt.ruling == "not resolved at this scale"


def test_one_seed_decides_nothing() -> None:
    trial = ruling("h1", *study({"lora/frozen": 0.1, "lora/tuned": 0.9}, "method", "connector", seeds=1))
    assert trial.ruling == "not resolved at this scale" and "one training each cannot decide it" in trial.sentence


def test_steadier_is_the_f_test_of_two_variances() -> None:
    spreads = {"ia3/1e-5": 0.05, "ia3/1e-2": 0.9, "prefix/1e-5": 0.05, "prefix/1e-2": 0.9}
    results, items = study(dict.fromkeys(spreads, 0.5), "method", "lr", seeds=8, seed_spread=spreads)
    trial = ruling("h11", results, items)
    assert trial.ruling == "supported"
    part = trial.parts[0]
    sides = [
        [p.scores["E"] for p in results.points if (p.levels["method"], p.levels["lr"]) == ("ia3", lr)]
        for lr in ("1e-5", "1e-2")
    ]
    ratio = np.var(sides[0], ddof=1) / np.var(sides[1], ddof=1)
    assert part.value == pytest.approx(ratio**0.5) and part.unit == "times"
    assert part.supports == pytest.approx(scipy.stats.f.cdf(ratio, 7, 7))
    low, high = part.interval or (0, 0)
    assert low**2 == pytest.approx(ratio / scipy.stats.f.ppf(0.975, 7, 7))
    assert high**2 == pytest.approx(ratio / scipy.stats.f.ppf(0.025, 7, 7))


def test_what_follows_is_a_rank_correlation_over_recipes() -> None:
    effects = {f"m{n}": {"digits": 0.6, "color": 0.9 - 0.07 * n, "count": 0.9} for n in range(12)}
    results, items, _ = draw(effects=effects, items=300, seed_spread=0.05)
    for point in results.points:
        point.scores["kl_to_base"] = float(point.levels["method"][1:])
    trial = ruling("kl_predicts", results, items)
    assert trial.ruling == "supported" and trial.parts[0].value > 0.9
    for point in results.points:
        point.scores["kl_to_base"] *= -1
    assert ruling("kl_predicts", results, items).ruling == "contradicted"


def test_data_sizes_are_compared_step_by_step() -> None:
    results, items = study({"lora/1000": 0.3, "lora/5000": 0.5, "lora/10000": 0.7}, "method", "data", seeds=4)
    trial = ruling("h9", results, items)
    assert [part.words for part in trial.parts] == ["E of data 5000 less data 1000", "E of data 10000 less data 5000"]
    assert trial.ruling == "supported"


def test_the_number_of_claims_is_accounted_for() -> None:
    """Ten claims that are all false by exactly their margin: a wrong word in at most a few of thirty studies."""
    wrong = 0
    names = ["h1", "h2", "h12", "h14", "h15"]
    for seed in range(30):
        recipes = {
            f"{m}/{c}/{v}": 0.6
            for m in ("lora", "ia3", "adapter", "prefix")
            for c in ("frozen", "tuned")
            for v in ("frozen", "tuned")
        }
        results, items = study(recipes, "method", "connector", "vision", seed=seed, items=60, seed_spread=0.2)
        results = replace(results, groups={"target": {"seen": ("digits",), "unseen": ("digits",)}})
        trials = put_on_trial(results, items, names)
        # The truth is no effect: claims of more are false, that of no more is true.
        wrong += any(t.ruling == ("contradicted" if t.claim.name == "h14" else "supported") for t in trials)
        assert sorted(t.p_value for t in trials) == sorted(t.p_value for t in trials if t.p_holm >= t.p_value)
    assert wrong <= 4


def test_a_study_without_the_levels_says_what_it_needs() -> None:
    results, items = study({"lora": 0.5, "ia3": 0.6, "adapter": 0.6, "prefix": 0.1}, "method")
    trials = put_on_trial(replace(results, claims=("h1", "h2", "h13")), items)
    assert [trial.ruling for trial in trials] == ["not tested here"] * 3
    assert trials[0].missing == "an axis connector with tuned and frozen"
    assert trials[1].missing == "an axis target with seen"
    assert trials[2].missing == "finished points with hallucinated"


def test_an_unknown_claim_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match=r"no claim 'h16'"):
        put_on_trial(*study({"lora": 0.5, "ia3": 0.6}, "method"), ["h16"])
    file = tmp_path / "mine.yaml"
    good = "{measure: E, says: more, levels: {m: a}}"
    good = f"paper: mine\nclaims: {{a: {{sentence: S., where: p, margin: 1, published: x, tests: [{good}]}}}}"
    file.write_text(good)
    assert read_claims(file)["a"].tests[0].against == "base"
    for bad in ("says: most", "says: more, lvels: {m: a}", "says: more, levels: {}"):
        file.write_text(good.replace("says: more, levels: {m: a}", bad))
        with pytest.raises(HoldfastError, match="claim 'a' cannot be read"):
            read_claims(file)

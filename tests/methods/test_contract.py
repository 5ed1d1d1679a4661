"""The contract that every registered method keeps; a new method is tested by being registered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.methods.ledger import check_moved, fingerprint, write_ledger
from holdfast.methods.recipe import Recipe, fuse, restore
from holdfast.models.loading import load_model
from holdfast.runs.artifacts import load_artifacts, save_artifacts

from .bench import METHODS, artifacts_equal, component_for, logits, run, tune_section

MERGE_TOLERANCE = 2e-6
"""Largest logit difference after merging, on logits of size 1 in float32."""

every_method = pytest.mark.parametrize("method", METHODS)


@every_method
def test_only_what_the_ledger_says_moves_and_the_base_comes_back(method: str, tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    before, parameters = fingerprint(loaded.anatomy), loaded.anatomy.names()
    plain = logits(loaded)
    trained = run(tiny_llava, tune_section(method), loaded=loaded)
    check_moved(before, trained.recipe, loaded.anatomy)
    assert not torch.equal(trained.logits, plain), "nothing happened"
    trained.recipe.detach()
    assert fingerprint(loaded.anatomy) == before
    assert dict(loaded.model.named_parameters()).keys() == parameters.keys(), "modules were left behind"
    assert torch.equal(logits(loaded), plain), "hooks were left behind"


@every_method
def test_the_loss_falls_and_every_trainable_tensor_has_a_gradient(method: str, tiny_llava: Path) -> None:
    trained = run(tiny_llava, tune_section(method), steps=12)
    assert min(trained.losses[-3:]) < trained.losses[0]
    # LLaVA reads the last hidden state before the tower's closing norm, which therefore never has a gradient.
    assert [name for name in trained.missing if "post_layernorm" not in name] == []


@every_method
def test_an_artifact_on_a_fresh_base_gives_the_same_logits(method: str, tiny_llava: Path, tmp_path: Path) -> None:
    trained = run(tiny_llava, tune_section(method))
    identity = load_model(str(tiny_llava)).identity
    save_artifacts(tmp_path / "a", trained.recipe.detach(), model="m", identity=identity, ledger={})
    artifacts, _ = load_artifacts(tmp_path / "a")
    fresh = load_model(str(tiny_llava))
    methods = restore(fresh, artifacts)
    assert torch.equal(logits(fresh), trained.logits)
    if methods[0].card.mergeable:
        for restored in methods:
            restored.merge()
        deviation = float((logits(fresh) - trained.logits).abs().max())
        assert deviation <= MERGE_TOLERANCE, deviation
        assert dict(fresh.model.named_parameters()).keys() == fresh.anatomy.names().keys()


@every_method
def test_accumulating_batches_equals_one_large_batch(method: str, tiny_llava: Path) -> None:
    section = tune_section(method, lr=1e-3)
    if method in ("adapter", "lora", "dora"):  # dropout draws once per batch
        section["llm"]["dropout"] = 0.0
    whole = run(tiny_llava, section, steps=1, batch_size=8)
    parts = run(tiny_llava, section, steps=1, batch_size=4, accumulate=2)
    torch.testing.assert_close(parts.losses, whole.losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts.logits, whole.logits, rtol=0, atol=2e-3)


@every_method
def test_a_run_leaves_no_trace_in_the_next_one(method: str, tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    run(tiny_llava, tune_section(method), loaded=loaded, steps=2).recipe.detach()
    again = run(tiny_llava, tune_section(method), loaded=loaded, steps=2).recipe.detach()
    fresh = run(tiny_llava, tune_section(method), steps=2).recipe.detach()
    assert artifacts_equal(again, fresh)


@every_method
def test_the_ledger_counts_what_the_artifact_holds(method: str, tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    base = sum(parameter.numel() for parameter in loaded.model.parameters())
    trained = run(tiny_llava, tune_section(method), loaded=loaded, steps=1)
    ledger = write_ledger(trained.recipe, loaded.anatomy)
    assert ledger.base == base
    assert ledger.trainable == sum(p.numel() for p in trained.recipe.named_trainable().values()) > 0
    assert ledger.percent == pytest.approx(100 * ledger.trainable / (base + ledger.added))
    rows = {row.component: row for row in ledger.rows}
    assert [name for name, row in rows.items() if row.trainable] == [component_for(method)]


@every_method
@pytest.mark.parametrize("stabiliser", ["l2_sp", "replay"])
def test_it_composes_with_stabilisers_or_says_why_not(method: str, stabiliser: str, tiny_llava: Path) -> None:
    keep = [{"stabiliser": stabiliser}]
    try:
        trained = run(tiny_llava, tune_section(method), keep=keep, steps=3)
    except HoldfastError as error:
        assert stabiliser == "l2_sp" and "trains none" in str(error)
        assert method not in ("full", "hft", "spider", "magnitude_mask", "random_mask", "norms", "bitfit")
        return
    assert all(loss == loss for loss in trained.losses)


@every_method
def test_it_composes_with_a_fusion_or_says_why_not(method: str, tiny_llava: Path) -> None:
    config = {"tune": tune_section(method), "fuse": {"method": "wise_ft", "alpha": 0.5}}
    loaded = load_model(str(tiny_llava))
    try:
        recipe = Recipe(load_config(config))
    except HoldfastError as error:
        assert "edits weights" in str(error) and method in ("adapter", "prefix")
        return
    before = fingerprint(loaded.anatomy)
    trained = run(tiny_llava, tune_section(method), loaded=loaded)
    artifacts = trained.recipe.detach()
    assert recipe.fusion is not None
    fused = fuse(loaded, artifacts, recipe.fusion, seed=0)
    assert fingerprint(loaded.anatomy) == before
    tuned, base, half = load_model(str(tiny_llava)), load_model(str(tiny_llava)), load_model(str(tiny_llava))
    for restored in restore(tuned, artifacts):
        restored.merge()
    restore(half, fused)
    for name, parameter in base.anatomy.names().items():
        middle = (parameter + tuned.anatomy.names()[name]) / 2
        torch.testing.assert_close(half.anatomy.names()[name], middle, rtol=1e-5, atol=1e-6)


def test_a_recipe_that_trains_nothing_changes_nothing(tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    plain = logits(loaded)
    trained = run(tiny_llava, {}, loaded=loaded, steps=0)
    assert trained.recipe.detach() == []
    assert torch.equal(logits(loaded), plain)
    assert write_ledger(trained.recipe, loaded.anatomy).trainable == 0


def test_three_components_with_three_methods_at_once(tiny_llava: Path, tmp_path: Path) -> None:
    tune = {
        "vision": {"method": "lora", "r": 2, "lr": 1e-2},
        "connector": {"method": "full", "lr": 1e-2},
        "llm": {"method": "lora", "r": 4, "lr": 1e-2},
    }
    loaded = load_model(str(tiny_llava))
    before = fingerprint(loaded.anatomy)
    trained = run(tiny_llava, tune, loaded=loaded)
    check_moved(before, trained.recipe, loaded.anatomy)
    artifacts = trained.recipe.detach()
    assert fingerprint(loaded.anatomy) == before
    fresh = load_model(str(tiny_llava))
    methods = restore(fresh, artifacts)
    assert torch.equal(logits(fresh), trained.logits)
    for method in methods:
        method.merge()
    torch.testing.assert_close(logits(fresh), trained.logits, rtol=0, atol=MERGE_TOLERANCE)

"""Fusions that look at examples, in a recipe on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact
from holdfast.methods.experts import choose, names_of
from holdfast.methods.fusion.fisher import diagonal_fisher
from holdfast.methods.ledger import fingerprint
from holdfast.methods.recipe import Recipe, fuse, fuse_all, restore
from holdfast.methods.registry import make_fusion
from holdfast.models.loading import load_model
from holdfast.training.loss import mean_loss
from tests.support.methods import examples, run

TUNE = {"llm": {"method": "full", "lr": 1e-2, "modules": ["mlp"]}, "connector": {"method": "full", "lr": 1e-2}}


class Pools:
    """Eight training examples, and source examples that may be missing."""

    def __init__(self, loaded: Any, *, sources: bool = True) -> None:
        self.loaded, self.sources = loaded, sources

    def __call__(self, count: int, *, of: str = "train", size: int | None = None) -> Iterator[dict[str, torch.Tensor]]:
        if of == "sources" and not self.sources:
            return
        chosen = examples()[4:] if of == "sources" else examples()[:4]
        for begin in range(min(count, len(chosen) // (size or 4))):
            yield self.loaded.chat.encode(chosen[begin : begin + (size or 4)], with_answers=True)

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return mean_loss(self.loaded.model, batch)


def trained(folder: Path) -> tuple[Any, Any]:
    loaded = load_model(str(folder))
    artifacts = run(folder, TUNE, loaded=loaded, steps=3).recipe.detach()
    return loaded, artifacts


def test_model_tailor_patches_the_linear_layers_and_gives_back_the_rest(tiny_llava: Path) -> None:
    loaded, artifacts = trained(tiny_llava)
    before = fingerprint(loaded.anatomy)
    base = {name: p.detach().clone() for name, p in loaded.anatomy.names().items()}
    pools = Pools(loaded)
    for compensate in ("none", "release"):
        fusion = make_fusion("model_tailor", {"sparsity": 0.9, "block": 16, "compensate": compensate})
        fused = fuse(loaded, artifacts, fusion, 0, pools, pools.loss)
        assert fingerprint(loaded.anatomy) == before
        tensors = {name: tensor for artifact in fused for name, tensor in artifact.tensors.items()}
        tuned = {name: tensor for artifact in artifacts for name, tensor in artifact.tensors.items()}
        for name, tensor in tensors.items():
            changed = (tensor != base[name]).float().mean()
            if tensor.ndim == 1:
                assert changed == 0, "biases are no layer's weight"
            elif compensate == "none":
                assert 0.08 < changed < 0.12
                places = tensor != base[name]
                torch.testing.assert_close(tensor[places], tuned[name][places], rtol=1e-5, atol=1e-6)
    restore(loaded, fused)
    assert fingerprint(loaded.anatomy) != before


def test_fisher_observes_the_sources_at_the_base_and_the_target_at_the_tuned_weights(tiny_llava: Path) -> None:
    loaded, artifacts = trained(tiny_llava)
    before = fingerprint(loaded.anatomy)
    pools = Pools(loaded)
    fused = fuse(loaded, artifacts, make_fusion("fisher", {"floor": 0.0, "samples": 4}), 0, pools, pools.loss)
    assert fingerprint(loaded.anatomy) == before
    name = next(name for name in artifacts[-1].tensors if name.endswith("down_proj.weight"))
    tensors = {n: t for artifact in fused for n, t in artifact.tensors.items()}
    own = loaded.anatomy.names()[name]
    base = own.detach().clone()
    first = diagonal_fisher({"w": own}, pools(4, of="sources", size=1), pools.loss)["w"]
    restore(loaded, artifacts)
    second = diagonal_fisher({"w": own}, pools(4, size=1), pools.loss)["w"]
    wanted = (first * base + second * own.detach()) / (first + second)
    torch.testing.assert_close(tensors[name], wanted, rtol=1e-4, atol=1e-6)


def test_a_graft_of_the_largest_changes_serves_the_target(tiny_llava: Path) -> None:
    loaded, artifacts = trained(tiny_llava)
    before = fingerprint(loaded.anatomy)
    base = {name: p.detach().clone() for name, p in loaded.anatomy.names().items()}
    pools = Pools(loaded)
    first, learned = (
        fuse(loaded, artifacts, make_fusion("grafting", {"keep": 0.02, "steps": steps}), 0, pools, pools.loss)
        for steps in (0, 3)
    )
    assert fingerprint(loaded.anatomy) == before
    tuned = {name: tensor for artifact in artifacts for name, tensor in artifact.tensors.items()}
    kept = [(n, t != base[n]) for artifact in first for n, t in artifact.tensors.items()]
    assert 0.015 < torch.cat([places.view(-1) for _, places in kept]).float().mean() < 0.025
    fused = {name: tensor for artifact in first for name, tensor in artifact.tensors.items()}
    assert all(torch.allclose(fused[n][places], tuned[n][places], atol=1e-6) for n, places in kept)
    losses = []
    for result in (first, learned):
        restore(loaded, result)
        losses.append(sum(float(pools.loss(batch).detach()) for batch in pools(8)))
        with torch.no_grad():
            for name, parameter in loaded.anatomy.names().items():
                parameter.copy_(base[name])
    assert losses[1] <= losses[0]


def fused_by(folder: Path, tune: dict[str, Any], fusions: Any) -> tuple[Any, dict[str, torch.Tensor], list[Artifact]]:
    """The base's values, and the artifacts of a short run before and after the fusions of a recipe."""
    loaded = load_model(str(folder))
    base = {name: p.detach().clone() for name, p in loaded.anatomy.names().items()}
    recipe = Recipe(load_config({"tune": tune, "fuse": fusions}))
    artifacts = run(folder, tune, loaded=loaded, steps=2).recipe.detach()
    tuned = {name: tensor for artifact in artifacts for name, tensor in artifact.tensors.items()}
    before = fingerprint(loaded.anatomy)
    fused = fuse_all(loaded, artifacts, recipe.fusions, seed=0)
    assert fingerprint(loaded.anatomy) == before
    return base, tuned, fused


def test_a_list_of_fusions_is_applied_one_after_the_other(tiny_llava: Path) -> None:
    twice = [{"method": "wise_ft", "alpha": 0.5}, {"method": "wise_ft", "alpha": 0.4}]
    base, tuned, fused = fused_by(tiny_llava, TUNE, twice)
    assert [artifact.metadata["fused_by"] for artifact in fused] == ["wise_ft and wise_ft"] * 2
    for artifact in fused:
        for name, tensor in artifact.tensors.items():
            torch.testing.assert_close(tensor, base[name] + 0.2 * (tuned[name] - base[name]), rtol=1e-5, atol=1e-6)


def test_each_component_may_have_a_fusion_of_its_own(tiny_llava: Path) -> None:
    own = [
        {"method": "wise_ft", "alpha": 0.5, "components": ["connector"]},
        {"method": "wise_ft", "alpha": 0.25, "components": ["llm"]},
    ]
    base, tuned, fused = fused_by(tiny_llava, TUNE, own)
    for artifact in fused:
        alpha = {"connector": 0.5, "llm": 0.25}[artifact.component]
        for name, tensor in artifact.tensors.items():
            torch.testing.assert_close(tensor, base[name] + alpha * (tuned[name] - base[name]), rtol=1e-5, atol=1e-6)


def test_a_fusion_of_one_component_leaves_what_cannot_be_merged_beside_it(tiny_llava: Path) -> None:
    tune = {"connector": {"method": "full", "lr": 1e-2}, "llm": {"method": "adapter", "bottleneck": 4, "lr": 1e-2}}
    with pytest.raises(HoldfastError, match=r"'adapter' on 'llm' changes none.*components: \[connector\]"):
        Recipe(load_config({"tune": tune, "fuse": {"method": "wise_ft", "components": ["connector", "llm"]}}))
    base, tuned, fused = fused_by(tiny_llava, tune, {"method": "wise_ft", "components": ["connector"]})
    connector, llm = fused
    assert (connector.method, llm.method) == ("full", "adapter")
    for name, tensor in connector.tensors.items():
        torch.testing.assert_close(tensor, (base[name] + tuned[name]) / 2, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(tensor, tuned[name]) for name, tensor in llm.tensors.items())


def test_runs_of_several_folders_are_fused(tiny_llava: Path, tmp_path: Path) -> None:
    from holdfast.runs.artifacts import save_artifacts
    from holdfast.runs.experts import bring_experts

    loaded, own = trained(tiny_llava)
    base = {name: p.detach().clone() for name, p in loaded.anatomy.names().items()}
    lora = {
        "llm": {"method": "lora", "r": 4, "lr": 1e-2},
        "vision": {"method": "adapter", "bottleneck": 4, "lr": 1e-2},
    }
    other = run(tiny_llava, lora, loaded=loaded, steps=3, seed=1).recipe.detach()
    save_artifacts(tmp_path / "other/artifact", other, model="m", identity=loaded.identity, ledger={})
    (tmp_path / "other/config.yaml").write_text("", encoding="utf-8")

    def recipe(**options: Any) -> Recipe:
        section = {"method": "task_arithmetic", "experts": [str(tmp_path / "other")], **options}
        section |= {"strength": 0.5} if section["method"] == "task_arithmetic" else {}
        return Recipe(load_config({"tune": TUNE, "fuse": section}))

    (fusion,) = recipe(components=["llm"]).fusions
    bring_experts([fusion], loaded)
    before = fingerprint(loaded.anatomy)
    fused = fuse(loaded, own, fusion, 0)
    assert fingerprint(loaded.anatomy) == before
    merged = []
    for artifacts in (own, [artifact for artifact in other if artifact.component == "llm"]):
        for method in restore(loaded, artifacts):
            method.merge()
        merged.append({name: p.detach().clone() for name, p in loaded.anatomy.names().items()})
        with torch.no_grad():
            for name, parameter in loaded.anatomy.names().items():
                parameter.copy_(base[name])
    connector, llm = fused
    assert any("q_proj" in name for name in llm.tensors) and any("down_proj" in name for name in llm.tensors)
    for name, tensor in llm.tensors.items():
        wanted = base[name] + 0.5 * sum(expert[name] - base[name] for expert in merged)
        torch.testing.assert_close(tensor, wanted, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(tensor, merged[0][name]) for name, tensor in connector.tensors.items())
    with pytest.raises(HoldfastError, match="method 'adapter' on 'vision' of this run changes none"):
        bring_experts(recipe().fusions, loaded)
    with pytest.raises(HoldfastError, match="not a Holdfast run"):
        bring_experts(recipe(experts=[str(tmp_path)]).fusions, loaded)
    with pytest.raises(HoldfastError, match="takes 1 tuned model, and 2 were given"):
        recipe(method="magnitude")


@pytest.mark.parametrize("method", ["emr", "twin_merging"])
def test_a_run_keeps_every_expert_of_its_fusion(tiny_llava: Path, tmp_path: Path, method: str) -> None:
    """One artifact in the place of two, from which either is restored."""
    from holdfast.runs.artifacts import load_artifacts, save_artifacts

    loaded, own = trained(tiny_llava)
    names = loaded.anatomy.names()
    base = {name: p.detach().clone() for name, p in names.items()}
    other = run(tiny_llava, {"llm": TUNE["llm"]}, loaded=loaded, steps=3, seed=1).recipe.detach()
    fusion = make_fusion(method, {})
    fusion.experts_from, fusion.others = ["runs/other"], [other]
    save_artifacts(tmp_path / "a", fuse(loaded, own, fusion, 0), model="m", identity=loaded.identity, ledger={})
    fused, _ = load_artifacts(tmp_path / "a")
    assert {artifact.method for artifact in fused} == {"full"} and names_of(fused) == ["this run", "other"]
    tuned = [
        {n: t.clone() for artifact in artifacts for n, t in artifact.tensors.items()} for artifacts in (own, other)
    ]
    tuned = [{n: each.get(n, base[n]) for n in tuned[0]} for each in tuned]
    for place in (1, 2):
        one = {"expert": place} if method == "emr" else {"weights": (float(place == 1), float(place == 2))}
        wanted = make_fusion(method, one).fuse(base, tuned, torch.Generator())
        restore(loaded, choose(fused, place))
        assert all(torch.equal(names[n].detach(), tensor) for n, tensor in wanted.items())
        with torch.no_grad():
            for name, parameter in names.items():
                parameter.copy_(base[name])


def test_missing_data_are_refused_before_step_one(tiny_llava: Path) -> None:
    loaded = load_model(str(tiny_llava))
    pools = Pools(loaded, sources=False)
    recipe = Recipe(load_config({"tune": TUNE, "fuse": "fisher"}))
    with pytest.raises(HoldfastError, match="fusion 'fisher' needs training examples of the sources"):
        recipe.attach(loaded, 0, pools, pools.loss)
    loaded, artifacts = trained(tiny_llava)
    for name in ("fisher", "model_tailor"):
        with pytest.raises(HoldfastError, match="none w"):
            fuse(loaded, artifacts, make_fusion(name, {}), 0)

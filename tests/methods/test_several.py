"""Several methods on one component: each part keeps the contract, and together they are what two hands would make."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.events import Ledger
from holdfast.methods.contract import Artifact, Context
from holdfast.methods.guard import modules
from holdfast.methods.ledger import check_moved, fingerprint, write_ledger
from holdfast.methods.peft_bridge import PeftMethod
from holdfast.methods.recipe import Recipe, fuse, restore
from holdfast.methods.registry import METHODS as REGISTRY
from holdfast.methods.registry import make_method
from holdfast.methods.several import Several, parts_of
from holdfast.models.anatomy import resolve_anatomy
from holdfast.models.batch import Batch
from holdfast.planning.meta import Sketch, attach_recipe
from holdfast.registry import Provider
from holdfast.runs.artifacts import load_artifacts, save_artifacts
from tests.methods.test_contract_families import digests, kept, letters, mean, two_steps
from tests.methods.test_contract_families import logits as family_logits
from tests.support.closeness import assert_near
from tests.support.methods import METHODS, SMALL, artifacts_equal, component_for, examples, fresh, logits, run

Section = dict[str, list[dict[str, Any]]]


def part(method: str, *, lr: float = 1e-2, **options: Any) -> dict[str, Any]:
    """One of several, with options that fit a small model."""
    return {"method": method, "lr": lr, **SMALL.get(method, {}), **options}


TOGETHER: dict[str, Section] = {
    "lora + norms": {"llm": [part("lora"), part("norms", lr=3e-3)]},
    "lora + bitfit": {"vision": [part("lora"), part("bitfit")]},
    "adapter + prefix": {"llm": [part("adapter", init="identity"), part("prefix")]},
    "houlsby + prompt_tuning": {"llm": [part("houlsby"), part("prompt_tuning")]},
    "layers + prefix": {"llm": [part("layers"), part("prefix")]},
    "ia3 + adapter": {"llm": [part("ia3"), part("adapter")]},
    "fish_mask + norms": {"llm": [part("fish_mask"), part("norms")]},
    "lora_plus + loreft": {"llm": [part("lora_plus"), part("loreft")]},
    "vpt + lora": {"vision": [part("vpt"), part("lora")]},
    "lora + ia3 apart": {"llm": [part("lora", modules=["attention"]), part("ia3", modules=["mlp"])]},
    "lora + lora apart": {"llm": [part("lora", modules=["attention"]), part("lora", modules=["mlp"], r=2)]},
    "layers + layers": {"llm": [part("layers", layers="first:1"), part("layers", layers="last:1")]},
    "lora_plus + norms + prefix": {"llm": [part("lora_plus"), part("norms"), part("prefix")]},
}
AT_THE_BASE = ("lora + norms", "lora + bitfit", "fish_mask + norms", "layers + layers", "lora + lora apart")
together = pytest.mark.parametrize("name", TOGETHER)


@cache
def lived(name: str, folder: Path) -> tuple[list[Artifact], torch.Tensor, Ledger]:
    """Attach, train, suspend, detach: what may move moves, and the base comes back, modules and all."""
    loaded = fresh(folder)
    plain, before, built = logits(loaded), fingerprint(loaded.anatomy), modules(loaded.model)
    trained = run(folder, TOGETHER[name], loaded=loaded, steps=4)
    check_moved(before, trained.recipe, loaded.anatomy)
    assert not [missing for missing in trained.missing if "post_layernorm" not in missing]
    ledger = write_ledger(trained.recipe, loaded.anatomy)
    assert not torch.equal(trained.logits, plain)
    with trained.recipe.suspended():
        assert torch.equal(logits(loaded), plain), "switched off it is not the base"
    assert torch.equal(logits(loaded), trained.logits), "switched on it is another model"
    artifacts = trained.recipe.detach()
    assert modules(loaded.model) == built and fingerprint(loaded.anatomy) == before
    assert torch.equal(logits(loaded), plain)
    assert not any(p.requires_grad or p.grad is not None for p in loaded.model.parameters())
    return artifacts, trained.logits, ledger


@together
def test_it_trains_comes_off_and_goes_back_on(name: str, tiny_llava: Path, tmp_path: Path) -> None:
    artifacts, tuned, _ = lived(name, tiny_llava)
    base = fresh(tiny_llava)
    save_artifacts(tmp_path / "a", artifacts, model="m", identity=base.identity, ledger={})
    assert len(list((tmp_path / "a").glob("*.safetensors"))) == 1
    loaded, _ = load_artifacts(tmp_path / "a")
    (method,) = restore(base, loaded)
    assert torch.equal(logits(base), tuned)
    with_merge = [REGISTRY.find(one["method"]).card.mergeable for one in next(iter(TOGETHER[name].values()))]
    assert method.card.mergeable == all(with_merge)
    if method.card.mergeable:
        method.merge()
        assert_near(logits(base), tuned)
        assert dict(base.model.named_parameters()).keys() == base.anatomy.names().keys()


@together
def test_a_second_run_gives_the_same_bits(name: str, tiny_llava: Path) -> None:
    again = run(tiny_llava, TOGETHER[name], steps=4).recipe.detach()
    assert artifacts_equal(again, lived(name, tiny_llava)[0])


@together
def test_the_ledger_is_the_sum_of_the_parts_and_a_plan_counts_the_same(name: str, tiny_llava: Path) -> None:
    _, _, ledger = lived(name, tiny_llava)
    (component, parts), *_ = TOGETHER[name].items()
    alone = []
    for one in parts:
        recipe = Recipe(load_config({"tune": {component: one}}))
        model = copy.deepcopy(fresh(tiny_llava).model).to("meta").requires_grad_(False)
        sketch = Sketch("m", model.config, model, resolve_anatomy(model))
        attach_recipe(recipe, sketch)
        alone.append(write_ledger(recipe, sketch.anatomy))
    row = next(row for row in ledger.rows if row.component == component)
    assert [one["trainable"] for one in row.parts] == [one.trainable for one in alone]
    assert ledger.trainable == sum(one.trainable for one in alone) > 0
    assert ledger.added == sum(one.added for one in alone)
    assert row.checkpoint_bytes == sum(one.checkpoint_bytes for ledger in alone for one in ledger.rows)
    planned = Recipe(load_config({"tune": TOGETHER[name]}))
    model = copy.deepcopy(fresh(tiny_llava).model).to("meta").requires_grad_(False)
    sketch = Sketch("m", model.config, model, resolve_anatomy(model))
    attach_recipe(planned, sketch)
    counted = write_ledger(planned, sketch.anatomy)
    assert (counted.trainable, counted.added) == (ledger.trainable, ledger.added)


@pytest.mark.parametrize("name", AT_THE_BASE)
def test_parts_that_start_at_the_base_do_so_together(name: str, tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    plain = logits(loaded)
    trained = run(tiny_llava, TOGETHER[name], loaded=loaded, steps=0)
    assert torch.equal(trained.logits, plain)


FAMILIES: dict[str, list[str]] = {
    "lora + norms": ["lora", "norms"],
    "adapter + prefix": ["adapter", "prefix"],
    "houlsby + prompt_tuning": ["houlsby", "prompt_tuning"],
    "ia3 + adapter": ["ia3", "adapter"],
    "layers + prefix": ["layers", "prefix"],
    "lora_plus + norms": ["lora_plus", "norms"],
    "lora + bitfit": ["lora", "bitfit"],
}


@pytest.mark.parametrize("family", ["qwen2_5_vl", "gemma3"])
@pytest.mark.parametrize("name", FAMILIES)
def test_other_families(name: str, family: str) -> None:
    """The llm of Qwen2.5-VL has biases; Gemma3 ties its head, and its llm has none."""
    original, inputs = kept(family)
    model, other = copy.deepcopy(original), copy.deepcopy(original)
    anatomy = resolve_anatomy(model)
    before, plain, built = digests(anatomy), family_logits(model, inputs), modules(model)
    seen = Batch.of(inputs)
    made = Several([make_method(one, SMALL.get(one, {})) for one in FAMILIES[name]], [1e-2, 1e-2])
    context = Context(
        torch.Generator().manual_seed(0), lambda count, **_: iter([seen] * min(count, 4)), mean(model), 1e-2, letters
    )
    try:
        made.attach(anatomy.llm, context)
    except HoldfastError as error:
        assert name == "lora + bitfit" and family == "gemma3" and "finds nothing to train" in str(error)
        assert modules(model) == built and torch.equal(family_logits(model, inputs), plain)
        return
    assert two_steps(made, model, inputs) == []
    tuned = family_logits(model, inputs)
    assert not torch.equal(tuned, plain)
    with made.suspended():
        assert torch.equal(family_logits(model, inputs), plain)
    artifact = made.detach()
    assert digests(anatomy) == before and modules(model) == built
    assert torch.equal(family_logits(model, inputs), plain)
    again = Several([make_method(saved.method, saved.options) for saved in parts_of(artifact)], [1e-2, 1e-2])
    again.restore(resolve_anatomy(other).llm, artifact)
    assert torch.equal(family_logits(other, inputs), tuned)


def test_lora_and_norms_are_what_a_hand_writes_into_the_weights(tiny_llava: Path) -> None:
    """``W + (8 / 4) B A`` and the trained gains, by plain sums from what was saved."""
    artifacts, tuned, _ = lived("lora + norms", tiny_llava)
    saved = artifacts[0].tensors
    by_hand = fresh(tiny_llava)
    parameters = by_hand.anatomy.names()
    with torch.no_grad():
        for name in [name for name in saved if name.endswith("lora_A.weight")]:
            layer = name.removeprefix("0.lora/").removesuffix(".lora_A.weight")
            product = saved[name.replace("lora_A", "lora_B")].double() @ saved[name].double()
            parameters[f"{layer}.weight"] += (2 * product).float()
        for name in [name for name in saved if name.startswith("1.norms/")]:
            parameters[name.removeprefix("1.norms/")].copy_(saved[name])
    assert len(saved) == 2 * 21 + 7
    assert_near(logits(by_hand), tuned)


def test_houlsby_and_norms_are_the_formula_behind_each_sublayer(tiny_llava: Path) -> None:
    section = {"llm": [part("houlsby"), part("norms")]}
    trained = run(tiny_llava, section, steps=4)
    (artifact,) = trained.recipe.detach()
    bottlenecks, gains = (one.tensors for one in parts_of(artifact))
    by_hand = fresh(tiny_llava)
    with torch.no_grad():
        for name, gain in gains.items():
            by_hand.anatomy.names()[name].copy_(gain)

    def behind(layer: str) -> Any:
        def add(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            weights = {
                key: bottlenecks[f"{layer}.{key}"] for key in ("down.weight", "down.bias", "up.weight", "up.bias")
            }
            inner = functional.gelu(output @ weights["down.weight"].T + weights["down.bias"])
            return output + inner @ weights["up.weight"].T + weights["up.bias"]

        return add

    layers = sorted({name.rsplit(".", 2)[0] for name in bottlenecks})
    assert len(layers) == 6  # o_proj and down_proj of three blocks
    for layer in layers:
        by_hand.model.get_submodule(layer).register_forward_hook(behind(layer))
    assert_near(logits(by_hand), trained.logits)


def test_each_part_steps_as_an_optimizer_of_its_own_would(tiny_llava: Path) -> None:
    """Two blocks at two rates against plain AdamW, twice; and each moves as far as its own rate lets it."""
    rates = {"first:1": 1e-3, "last:1": 5e-3}
    section = {"llm": [part("layers", lr=rate, layers=layers) for layers, rate in rates.items()]}
    plain_train = {"batch_size": 8, "weight_decay": 0.1, "clip": None, "warmup": 0.0, "schedule": "constant"}
    (artifact,) = run(tiny_llava, section, steps=3, **plain_train).recipe.detach()

    by_hand = fresh(tiny_llava)
    blocks = [block for _, block in by_hand.anatomy.llm.layers()]
    optimizers = []
    for block, rate in zip((blocks[0], blocks[-1]), rates.values(), strict=True):
        matrices, vectors = ([p for p in block.parameters() if (p.ndim > 1) is wanted] for wanted in (True, False))
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        optimizers.append(torch.optim.AdamW(groups, lr=rate))
    batch = dict(by_hand.chat.encode(examples(), with_answers=True))
    labels = batch.pop("labels")
    by_hand.model.eval()
    for _ in range(3):
        said = by_hand.model(**batch).logits
        functional.cross_entropy(said[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    base, now = fresh(tiny_llava).anatomy.names(), by_hand.anatomy.names()
    moved = []
    for one in parts_of(artifact):
        for name, tensor in one.tensors.items():
            torch.testing.assert_close(tensor, now[name].detach(), rtol=1e-3, atol=1e-5)
        moved.append(max(float((tensor - base[name].detach()).abs().max()) for name, tensor in one.tensors.items()))
    assert moved[0] < 3.1e-3 < moved[1] < 15.1e-3


REFUSED: dict[str, tuple[Section, str]] = {
    "the same tensors": ({"llm": [part("full"), part("norms")]}, r"'full' and 'norms' would both stand on .*layernorm"),
    "a wrapped layer that trains": (
        {"llm": [part("layers"), part("lora")]},
        r"'layers' and 'lora' would both stand on",
    ),
    "one layer wrapped twice": ({"llm": [part("lora"), part("ia3")]}, r"'lora' and 'ia3' would both stand on"),
    "a start from weights that train": ({"llm": [part("pissa"), part("attention_only")]}, r"q_proj|k_proj"),
    "a bias that is scaled": ({"vision": [part("ia3", modules=["fc1"]), part("bitfit")]}, r"fc1\.bias"),
    "entries of one matrix": ({"llm": [part("fish_mask"), part("gate_up")]}, r"gate_proj\.weight"),
    "two in front": ({"llm": [part("prefix"), part("prompt_tuning")]}, "the rows that the llm reads"),
    "two in one place": ({"llm": [part("adapter"), part("houlsby")]}, r"the output of .*proj"),
    "behind a layer that is not called": ({"llm": [part("shira"), part("adapter")]}, r"the (in|out)put of"),
    "one that goes with none": ({"llm": [part("ladder"), part("norms")]}, "'ladder' is not known to go with another"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_compose_is_refused_and_leaves_the_base(name: str, tiny_llava: Path) -> None:
    section, words = REFUSED[name]
    loaded = fresh(tiny_llava)
    before, built = fingerprint(loaded.anatomy), modules(loaded.model)
    with pytest.raises(HoldfastError, match=words) as refused:
        run(tiny_llava, section, loaded=loaded)
    component = next(iter(section))
    assert refused.value.remedy and refused.value.key[:2] == ("tune", component) and refused.value.key[2] in ("0", "1")
    assert fingerprint(loaded.anatomy) == before and modules(loaded.model) == built


def test_a_part_says_where_its_own_mistake_is() -> None:
    with pytest.raises(HoldfastError, match="no option 'ration'") as refused:
        Recipe(load_config({"tune": {"llm": [part("lora"), part("norms", ration=1)]}}))
    assert refused.value.key[:3] == ("tune", "llm", "1")


@pytest.mark.parametrize("method", [m for m in METHODS if issubclass(REGISTRY.find(m), PeftMethod)])
def test_what_peft_wraps_is_called_where_it_is_said_to_be(method: str, tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    made: Any = make_method(method, SMALL.get(method, {}))
    made.attach(loaded.anatomy.component(component_for(method)), Context(torch.Generator().manual_seed(0)))
    called = []
    for name, layer in made.layers.items():
        layer.register_forward_hook(lambda *_, name=name: called.append(name))
    logits(loaded)
    assert set(called) == (set(made.layers) if made.calls_layers else set())


def test_stabilisers_see_each_part(tiny_llava: Path) -> None:
    """``l2_sp`` as a mean over tensors counts LoRA's products beside the gains, and the ledger says who is not held."""
    trained = run(tiny_llava, TOGETHER["lora + norms"], keep=[{"stabiliser": "l2_sp", "form": "mean", "strength": 1.0}])
    (held,) = trained.recipe.stabilisers
    lora, norms = trained.recipe.parts.values()
    changes = [change.square().mean() for _, change in lora.weight_changes().values()]
    changes += [(now - base).square().mean() for now, base in norms.anchors()]
    said = held.penalty(0)
    assert said is not None and len(changes) == 21 + 7
    torch.testing.assert_close(said, torch.stack(changes).mean())
    trained = run(tiny_llava, TOGETHER["lora + norms"], keep=["l1_sp"])
    row = next(row for row in write_ledger(trained.recipe, trained.loaded.anatomy).rows if row.component == "llm")
    assert [one.get("not_held_by") for one in row.parts] == [["l1_sp"], None]
    assert row.lr is None and [one["lr"] for one in row.parts] == [1e-2, 3e-3]


def test_a_fusion_edits_what_all_parts_changed(tiny_llava: Path) -> None:
    recipe = Recipe(load_config({"tune": TOGETHER["lora + norms"], "fuse": {"method": "wise_ft", "alpha": 0.5}}))
    artifacts, _, _ = lived("lora + norms", tiny_llava)
    base, tuned, half = fresh(tiny_llava), fresh(tiny_llava), fresh(tiny_llava)
    fused = fuse(base, artifacts, recipe.fusions[0], seed=0)
    for method in restore(tuned, artifacts):
        method.merge()
    restore(half, fused)
    changed = 0
    for name, parameter in base.anatomy.names().items():
        middle = (parameter + tuned.anatomy.names()[name]) / 2
        torch.testing.assert_close(half.anatomy.names()[name], middle, rtol=1e-5, atol=1e-6)
        changed += not torch.equal(parameter, half.anatomy.names()[name])
    assert changed == 21 + 7
    with pytest.raises(HoldfastError, match="edits weights, and method 'adapter' on 'llm' changes none"):
        Recipe(load_config({"tune": TOGETHER["ia3 + adapter"], "fuse": "wise_ft"}))


def test_a_part_of_a_package_that_is_not_there_is_named(tiny_llava: Path) -> None:
    artifacts, _, _ = lived("lora + norms", tiny_llava)
    rows = copy.deepcopy(artifacts[0].options["parts"])
    rows[1] |= {"method": "gone", "provider": {"package": "elsewhere", "version": "1.2"}}
    saved = replace(artifacts[0], options={"parts": rows})
    assert parts_of(saved)[1].provider == Provider("elsewhere", "1.2")
    with pytest.raises(HoldfastError, match=r"'gone' on 'llm' comes from the package elsewhere 1\.2"):
        restore(fresh(tiny_llava), [saved])


@pytest.mark.contract
@pytest.mark.parametrize("partner", ["norms", "adapter", "prefix", "lora_plus", "lora"])
@pytest.mark.parametrize("method", [m for m in METHODS if component_for(m) == "llm"])
def test_every_method_beside_others(method: str, partner: str, tiny_llava: Path) -> None:
    """Composes as above, or is refused in a sentence."""
    TOGETHER[f"{method} beside {partner}"] = {"llm": [part(method), part(partner)]}
    try:
        artifacts, tuned, _ = lived(f"{method} beside {partner}", tiny_llava)
    except HoldfastError as error:
        assert "would both stand on" in str(error) or "not known to go with another" in str(error)
        return
    base = fresh(tiny_llava)
    restore(base, artifacts)
    assert torch.equal(logits(base), tuned)

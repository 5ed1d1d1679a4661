"""Each stabiliser against its formula, and what it says when it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.methods.additive.adapter import Adapter
from holdfast.methods.contract import Card, Context, Seen
from holdfast.methods.ledger import write_ledger
from holdfast.methods.recipe import Recipe, restore
from holdfast.methods.registry import METHODS, STABILISERS, make_stabiliser
from holdfast.methods.stabilisers.base import Stabiliser
from holdfast.models.batch import Batch
from holdfast.speed.sharing.supports import supports
from holdfast.training.batches import Stream
from holdfast.training.loss import answer_logits
from holdfast.training.pools import Pools
from tests.support.methods import SOURCES, examples, fresh, run

CONNECTOR = {"connector": {"method": "full", "lr": 1e-2}}
MASK = {"llm": {"method": "random_mask", "ratio": 0.2, "lr": 1e-2}}
LORA = {"llm": {"method": "lora", "r": 4, "dropout": 0.0, "lr": 1e-2}}


def attached(loaded: Any, tune: dict[str, Any], sources: Any = SOURCES) -> tuple[Recipe, Context]:
    config = load_config({"tune": tune, "train": {"batch_size": 4}})
    recipe = Recipe(config)
    pools = Pools(loaded, config.train, 0, examples(), (), sources)
    recipe.attach(loaded, 0, pools, pools.loss)
    return recipe, Context(torch.Generator(), pools, pools.loss)


@pytest.mark.parametrize("tune", [CONNECTOR, MASK])
@pytest.mark.parametrize(("name", "strength"), [("l2_sp", 0.5), ("l1_sp", 0.5)])
def test_distance_to_the_base(name: str, strength: float, tune: dict[str, Any], tiny_llava: Path) -> None:
    trained = run(tiny_llava, tune, keep=[{"stabiliser": name, "strength": strength}], steps=2)
    base = fresh(tiny_llava).anatomy.names()
    total, terms = 0.0, []
    for method in trained.recipe.active.values():
        index = {key: entry[0].long() for key, entry in method.changed_entries().items()}
        for key in method.moves():
            change = (trained.loaded.anatomy.names()[key] - base[key]).detach().double().view(-1)
            change = change[index[key]] if key in index else change
            total += float((change**2).sum())
            terms.append(float(change.abs().mean()))
    expected = strength / 2 * total if name == "l2_sp" else strength * float(np.mean(terms))
    penalty = trained.recipe.penalty(0)
    assert penalty is not None and penalty.item() == pytest.approx(expected, rel=1e-4) and expected > 0


@pytest.mark.parametrize("tune", [CONNECTOR, MASK])
@pytest.mark.parametrize("normalize", [False, True])
def test_ewc_is_the_mean_squared_gradient_of_each_source_answer(
    tune: dict[str, Any], normalize: bool, tiny_llava: Path
) -> None:
    loaded = fresh(tiny_llava)
    recipe, context = attached(loaded, tune)
    options = {"strength": 3.0, "samples": 5, "normalize": normalize}
    ewc = make_stabiliser("ewc", options)
    ewc.check(recipe.active)
    ewc.begin(recipe.active, context)
    assert all(parameter.grad is None for parameter in recipe.named_trainable().values())

    other = fresh(tiny_llava)
    other.model.requires_grad_(False)
    [method] = recipe.active.values()
    places = {name: entry[0].long() for name, entry in method.changed_entries().items()}
    names = {name: other.anatomy.names()[name].requires_grad_(True) for name in sorted(method.moves())}
    fisher = {name: torch.zeros(p.numel(), dtype=torch.float64) for name, p in names.items()}
    stream = Stream(SOURCES, 1, 1, 1)
    for step in range(5):
        batch = other.chat.encode(next(stream.step(step)), with_answers=True)
        found = other.model(**{k: v for k, v in batch.items() if k != "labels"}).logits.log_softmax(-1)
        row = batch["labels"][0]
        answer = sum(found[0, place - 1, row[place]] for place in range(1, len(row)) if row[place] >= 0)
        answer.backward()  # type: ignore[union-attr]
        for name, parameter in names.items():
            assert parameter.grad is not None
            fisher[name] += parameter.grad.double().view(-1) ** 2 / 5
            parameter.grad = None
    chosen = {name: total[places[name]] if name in places else total for name, total in fisher.items()}
    if normalize:
        mean = torch.cat(list(chosen.values())).mean()
        chosen = {name: total / mean for name, total in chosen.items()}
    moved = 0.0
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(method.named_trainable().items()):
            change = torch.randn(parameter.shape, generator=generator)
            parameter += change
            moved += float((chosen[name] * change.double().view(-1) ** 2).sum())
    penalty = ewc.penalty(0)
    assert penalty is not None and penalty.item() == pytest.approx(3.0 / 2 * moved, rel=1e-3)


@pytest.mark.parametrize("tune", [CONNECTOR, MASK, LORA, {"llm": {"method": "adapter", "bottleneck": 8, "lr": 0.3}}])
def test_distillation_is_the_divergence_from_the_base(tune: dict[str, Any], tiny_llava: Path) -> None:
    trained = run(tiny_llava, tune, steps=3)
    batch = trained.loaded.chat.encode(examples()[:4], with_answers=True)
    trained.loaded.model.eval()
    with torch.no_grad():
        now, targets = answer_logits(trained.loaded.model, batch)
        then, _ = answer_logits(fresh(tiny_llava).model.eval(), batch)
    stabiliser = make_stabiliser("distillation", {"strength": 0.7, "temperature": 2.0})
    calls = []

    def base() -> torch.Tensor:
        calls.append(1)
        with trained.recipe.suspended(), torch.no_grad():
            return answer_logits(trained.loaded.model, batch)[0]

    term = stabiliser.batch_penalty(Seen(batch, now, targets, base, base))

    def softmax(values: np.ndarray) -> np.ndarray:
        scaled = np.exp(values / 2 - (values / 2).max(-1, keepdims=True))
        return scaled / scaled.sum(-1, keepdims=True)

    p, q = softmax(then.double().numpy()), softmax(now.double().numpy())
    divergence = (p * np.log(p / q)).sum(-1)[targets.numpy() >= 0].sum()
    assert term is not None and float(term) == pytest.approx(0.7 * 4 * divergence, rel=1e-3)
    assert divergence > 0 and calls == [1]


@pytest.mark.parametrize("tune", [CONNECTOR, MASK, LORA])
def test_strong_distillation_holds_the_model_at_the_base(tune: dict[str, Any], tiny_llava: Path) -> None:
    def drift(strength: float) -> float:
        """Divergence from the base at the answers."""
        keep = [{"stabiliser": "distillation", "strength": strength}]
        trained = run(tiny_llava, tune, keep=keep, steps=10)
        batch = trained.loaded.chat.encode(examples(), with_answers=True)
        with torch.no_grad():
            now, targets = answer_logits(trained.loaded.model, batch)
            then, _ = answer_logits(fresh(tiny_llava).model, batch)
        there = targets >= 0
        return float(kl_div(now[there].log_softmax(-1), then[there].softmax(-1), reduction="sum"))

    assert drift(1000.0) < 0.5 * drift(0.0)


@pytest.mark.parametrize("tune", [CONNECTOR, MASK, LORA])
def test_distillation_starts_at_zero_and_does_not_change_the_gradient(tune: dict[str, Any], tiny_llava: Path) -> None:
    """At the base the divergence and its gradient vanish: the first step is the same step."""
    keep = [{"stabiliser": "distillation", "strength": 1.0}]
    one, other = run(tiny_llava, tune, steps=1), run(tiny_llava, tune, steps=1, keep=keep)
    assert one.losses == other.losses
    torch.testing.assert_close(other.logits, one.logits, rtol=0, atol=2e-3)


@pytest.mark.parametrize("tune", [CONNECTOR, MASK, LORA])
def test_a_gem_projects_on_the_half_space_of_the_sources(tune: dict[str, Any], tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    recipe, context = attached(loaded, tune)
    stabiliser = make_stabiliser("a_gem", {"batches": 2})
    stabiliser.begin(recipe.active, context)
    with torch.no_grad():  # LoRA's first factor has no gradient while the second is zero
        for parameter in recipe.named_trainable().values():
            parameter += 0.01
    recipe.after_step(0)
    batch = list(context.look("me", 2, of="sources"))[1]
    context.measure(batch).backward()
    names = recipe.named_trainable()
    reference = torch.cat([p.grad.view(-1) for p in names.values()]).double()  # type: ignore[union-attr]
    for sign in (1.0, -1.0):
        generator = torch.Generator().manual_seed(4)
        for parameter in names.values():
            noise = torch.randn(parameter.shape, generator=generator) * 1e-2
            parameter.grad = noise
        before = torch.cat([p.grad.view(-1) for p in names.values()]).double()  # type: ignore[union-attr]
        if float(before @ reference) * sign < 0:
            for parameter in names.values():
                assert parameter.grad is not None
                parameter.grad.neg_()
            before = -before
        stabiliser.before_step(3, names)  # 3 mod 2 is the second batch
        after = torch.cat([p.grad.view(-1) for p in names.values()]).double()  # type: ignore[union-attr]
        along = before @ reference
        expected = before if along >= 0 else before - along / (reference @ reference) * reference
        assert (along > 0) == (sign > 0)
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-7)


def test_replay_mixes_the_share_it_says() -> None:
    stabiliser = make_stabiliser("replay", {"ratio": 0.25})
    mixed = stabiliser.mix(examples(6), SOURCES, 0)
    assert [e.id for e in mixed[:6]] == [e.id for e in examples(6)]
    assert len(mixed) == 8 and {e.id for e in mixed[6:]} <= {e.id for e in SOURCES}
    assert len({e.id for e in mixed}) == 8
    assert [e.id for e in stabiliser.mix(examples(6), SOURCES, 0)] == [e.id for e in mixed]


@pytest.mark.parametrize("name", ["ewc", "a_gem"])
def test_a_stabiliser_says_which_data_it_lacks(name: str, tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    recipe, context = attached(loaded, CONNECTOR, sources=())
    with pytest.raises(
        HoldfastError, match=f"stabiliser '{name}' needs training examples of the sources.*List sources"
    ):
        stabiliser = make_stabiliser(name, {})
        stabiliser.check(recipe.active)
        stabiliser.begin(recipe.active, context)


def test_replay_says_so_too() -> None:
    with pytest.raises(HoldfastError, match="needs training examples of the sources"):
        make_stabiliser("replay", {}).mix(examples(), (), 0)


PRODUCTS: list[dict[str, Any]] = [
    {"method": "lora", "r": 4, "dropout": 0.0},
    {"method": "loha", "r": 4},
    {"method": "lokr", "r": 4},
    {"method": "delora", "r": 4},
    {"method": "pissa", "r": 4, "lr": 1e-2},
]


@pytest.mark.parametrize("llm", PRODUCTS, ids=lambda section: str(section["method"]))
def test_l2_sp_of_a_product_of_factors_is_that_of_its_dense_change(llm: dict[str, Any], tiny_llava: Path) -> None:
    tune = {"llm": {"lr": 1e-2, **llm}}
    trained = run(tiny_llava, tune, keep=[{"stabiliser": "l2_sp", "strength": 0.5}], steps=2)
    penalty = trained.recipe.penalty(0)
    assert penalty is not None and penalty.requires_grad
    merged, base = fresh(tiny_llava), fresh(tiny_llava).anatomy.names()
    for method in restore(merged, trained.recipe.detach()):
        method.merge()
    total = sum(float((p - base[n]).detach().double().square().sum()) for n, p in merged.anatomy.names().items())
    assert penalty.item() == pytest.approx(0.25 * total, rel=1e-3) and total > 0


@pytest.mark.parametrize("tune", [CONNECTOR, MASK])
def test_l2_sp_as_a_mean(tune: dict[str, Any], tiny_llava: Path) -> None:
    keep = [{"stabiliser": "l2_sp", "strength": 0.5, "form": "mean"}]
    trained = run(tiny_llava, tune, keep=keep, steps=2)
    base, means = fresh(tiny_llava).anatomy.names(), []
    for method in trained.recipe.active.values():
        index = {key: entry[0].long() for key, entry in method.changed_entries().items()}
        for key in method.moves():
            change = (trained.loaded.anatomy.names()[key] - base[key]).detach().double().view(-1)
            means.append(float((change[index[key]] if key in index else change).square().mean()))
    penalty = trained.recipe.penalty(0)
    assert penalty is not None and penalty.item() == pytest.approx(0.5 * float(np.mean(means)), rel=1e-4)


def test_l2_sp_as_a_mean_of_a_product(tiny_llava: Path) -> None:
    keep = [{"stabiliser": "l2_sp", "strength": 0.5, "form": "mean"}]
    trained = run(tiny_llava, LORA, keep=keep, steps=2)
    penalty = trained.recipe.penalty(0)
    assert penalty is not None and penalty.requires_grad
    merged, base = fresh(tiny_llava), fresh(tiny_llava).anatomy.names()
    for method in restore(merged, trained.recipe.detach()):
        method.merge()
    changes = [(p - base[n]).detach().double() for n, p in merged.anatomy.names().items()]
    means = [float(change.square().mean()) for change in changes if change.any()]
    assert penalty.item() == pytest.approx(0.5 * float(np.mean(means)), rel=1e-3) and means


@pytest.mark.parametrize("strength", [1.0, 0.25])
def test_prograd_takes_out_what_goes_against_the_base(strength: float, tiny_llava: Path) -> None:
    trained = run(tiny_llava, LORA, steps=3)
    recipe, model = trained.recipe, trained.loaded.model.eval()
    batch = Batch.of(trained.loaded.chat.encode(examples()[:4], with_answers=True))
    stabiliser = make_stabiliser("prograd", {"strength": strength, "temperature": 2.0})
    stabiliser.check(recipe.active)
    stabiliser.begin(recipe.active, Context(torch.Generator()))
    tensors = recipe.named_trainable()

    def base() -> torch.Tensor:
        with recipe.suspended(), torch.no_grad():
            return answer_logits(model, batch)[0]

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        for tensor in tensors.values():
            tensor.grad = None
        loss.backward()
        return {name: tensor.grad.clone() for name, tensor in tensors.items() if tensor.grad is not None}

    logits, targets = answer_logits(model, batch)
    p, q = (base() / 2).softmax(-1), (logits / 2).softmax(-1)
    near = gradients((p * (p.log() - q.log())).sum())
    logits, targets = answer_logits(model, batch)
    task = gradients(-torch.nn.functional.cross_entropy(logits, targets))  # uphill: against the base for some tensors
    logits, targets = answer_logits(model, batch)
    assert stabiliser.batch_penalty(Seen(batch, logits, targets, base, base)) is None
    for name, tensor in tensors.items():
        tensor.grad = -task[name]
    stabiliser.before_step(0, tensors)
    turned = 0
    for name, tensor in tensors.items():
        g, k = -task[name], near[name]
        along = float((g * k).sum())
        wanted = g - strength * along / float((k * k).sum()) * k if along < 0 else g
        turned += along < 0
        torch.testing.assert_close(tensor.grad, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()) + 1e-9)
    assert turned > 0


def test_prograd_refuses_methods_of_single_entries(tiny_llava: Path) -> None:
    recipe, _ = attached(fresh(tiny_llava), MASK)
    with pytest.raises(HoldfastError, match=r"'prograd' takes a second gradient.*Use a_gem"):
        make_stabiliser("prograd", {}).check(recipe.active)


def test_prograd_runs_in_a_recipe(tiny_llava: Path) -> None:
    plain = run(tiny_llava, LORA, steps=3)
    turned = run(tiny_llava, LORA, keep=["prograd"], steps=3)
    assert turned.losses[0] == plain.losses[0] and turned.losses[-1] < turned.losses[0]


def test_the_ledger_names_what_a_distance_does_not_hold(tiny_llava: Path) -> None:
    tune = {"connector": "full", "llm": {"method": "adapter", "bottleneck": 4}}
    trained = run(tiny_llava, tune, keep=["l2_sp"], steps=1)
    rows = {row.component: row for row in write_ledger(trained.recipe, trained.loaded.anatomy).rows}
    assert rows["llm"].notes == {"not_held_by": ["l2_sp"]} and rows["connector"].notes == {}


def test_l2_sp_refuses_what_moves_no_weight_at_all(tiny_llava: Path) -> None:
    recipe, _ = attached(fresh(tiny_llava), {"llm": {"method": "adapter", "bottleneck": 4}})
    with pytest.raises(HoldfastError, match="this recipe trains none"):
        make_stabiliser("l2_sp", {}).check(recipe.active)


class TwoPasses(Stabiliser):
    """Half the squared distance of two passes of the same batch, and from the base."""

    card = Card(name="two_passes", paradigm="any", family="test", summary="", paper="", year=None)
    wants_logits = True
    seen: ClassVar[list[tuple[float, float, bool]]] = []

    def batch_penalty(self, seen: Seen) -> torch.Tensor | None:
        again, base = seen.again(), seen.base()
        apart = (again - seen.logits).square().sum()
        self.seen.append((float(apart.detach()), float((base - seen.logits).detach().abs().max()), again.requires_grad))
        return apart / 2


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_term_may_look_at_a_second_pass_and_at_the_base(dropout: float, tiny_llava: Path) -> None:
    STABILISERS.enter(TwoPasses)
    TwoPasses.seen.clear()
    try:
        tune = {"llm": {**LORA["llm"], "dropout": dropout}}
        run(tiny_llava, tune, keep=["two_passes"], steps=2)
    finally:
        STABILISERS.leave("two_passes")
    first, second = TwoPasses.seen
    assert first[0] == 0 and first[1] <= 1e-6, "at step 0 every pass is the base"
    assert (second[0] > 0) == (dropout > 0) and second[1] > 1e-3
    assert first[2] and second[2]


class LooksAround(Adapter):
    """A change that depends on the whole row."""

    card = replace(Adapter.card, name="looks_around")
    per_token = False


def test_rows_are_not_shared_under_a_method_that_looks_at_whole_rows(tiny_llava: Path) -> None:
    METHODS.enter(LooksAround)
    try:
        loaded = fresh(tiny_llava)
        assert supports(loaded.model, loaded.chat)
        recipe, _ = attached(loaded, {"llm": {"method": "looks_around", "bottleneck": 4}})
        assert not supports(loaded.model, loaded.chat)
        assert "'looks_around' looks at whole rows" in supports(loaded.model, loaded.chat).why
        artifacts = recipe.detach()
        assert supports(loaded.model, loaded.chat)
        restore(loaded, artifacts)
        assert not supports(loaded.model, loaded.chat)
    finally:
        METHODS.leave("looks_around")


@pytest.mark.parametrize("name", ["l1_sp", "ewc"])
def test_distances_refuse_recipes_that_move_no_base_weight(name: str, tiny_llava: Path) -> None:
    recipe, _ = attached(fresh(tiny_llava), LORA)
    with pytest.raises(HoldfastError, match="pulls trained base weights back, and this recipe trains none"):
        make_stabiliser(name, {}).check(recipe.active)


def test_ewc_refuses_methods_that_select_anew(tiny_llava: Path) -> None:
    recipe, _ = attached(fresh(tiny_llava), {"llm": {"method": "fish_dip"}})
    with pytest.raises(HoldfastError, match="method 'fish_dip' selects anew"):
        make_stabiliser("ewc", {}).check(recipe.active)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ewc", {"strength": -1}, "option 'strength' is -1"),
        ("ewc", {"lambda": 1}, "has no option 'lambda'"),
        ("distillation", {"temperature": 0}, "option 'temperature' is 0"),
        ("replay", {"ratio": 1}, "option 'ratio' is 1"),
        ("l3_sp", {}, "unknown stabiliser 'l3_sp'"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(HoldfastError, match=message):
        make_stabiliser(name, options)

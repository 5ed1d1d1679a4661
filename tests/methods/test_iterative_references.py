"""Selective methods that choose once or at every step, each from its formula in plain torch or NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.methods.selective.model_dowser import ModelDowser, _nucleus
from holdfast.models.kinds import mlp_side
from holdfast.training.batches import Stream
from holdfast.training.loss import mean_loss
from tests.support.methods import SOURCES, examples, fresh, run

from .test_selective_references import PLAIN, adamw, chosen, highest, matrices, same
from .test_sparse import context


def test_the_paper_s_two_recipes_are_named(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    for name, wanted in (("attention_only", "qkvo"), ("gate_up", ("gate", "up"))):
        method = make_method(name, {"layers": "last:2"})
        method.attach(loaded.anatomy.llm, Context(torch.Generator()))
        moved = method.moves()
        assert {key.split(".")[-2].removesuffix("_proj") for key in moved} == set(wanted)
        assert len(moved) == 2 * len(wanted) and not any(".layers.0." in key for key in moved)
        method.detach()
    vision = make_method("gate_up", {})
    vision.attach(loaded.anatomy.vision, Context(torch.Generator()))
    assert {key.split(".")[-2] for key in vision.moves()} == {"fc1"}
    vision.detach()
    wide, narrow = torch.nn.Linear(4, 8), torch.nn.Linear(8, 4)
    assert [mlp_side("x.dense", wide), mlp_side("x.dense", narrow)] == ["mlp_in", "mlp_out"]
    assert [mlp_side("x.gate_proj", narrow), mlp_side("x.down_proj", wide)] == ["mlp_in", "mlp_out"]


@pytest.mark.parametrize("score", ["logits", "loss"])
def test_spu_locates_by_the_size_of_the_logits(score: str, tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    loaded.model.requires_grad_(False)
    weights = {n: p for n, p in matrices(loaded).items() if ".gate_proj." in n or ".up_proj." in n}
    for parameter in weights.values():
        parameter.requires_grad_(True)
    stream = Stream(examples(), 4, 1, 0)
    for step in range(3):
        batch = loaded.chat.encode(next(stream.step(step)), with_answers=True)
        out = loaded.model(**batch)
        places = batch["labels"][:, 1:] >= 0
        loss = out.loss if score == "loss" else (out.logits[:, :-1][places] ** 2).sum(-1).mean()
        loss.backward()  # gradients add up
    wanted = {n: highest(p.grad.abs(), round(0.1 * p.numel())) for n, p in weights.items()}  # type: ignore[union-attr]
    assert same(chosen("spu", tiny_llava, batches=3, batch_size=4, score=score), wanted)


def test_model_dowser_freezes_what_the_answers_hang_on(tiny_llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[dict[str, Tensor], Tensor]] = []
    original = torch.autograd.grad

    def spy(scalar: Tensor, outputs: Any, **options: Any) -> Any:
        passes.append((current[-1], scalar.detach()))
        return original(scalar, outputs, **options)

    current: list[dict[str, Tensor]] = []
    written = ModelDowser._written
    monkeypatch.setattr(ModelDowser, "_written", lambda self, n: current.append(written(self, n)) or current[-1])
    monkeypatch.setattr(torch.autograd, "grad", spy)
    places = chosen("model_dowser", tiny_llava, samples=5, batch_size=2, probes=2, length=7, ratio=0.2)
    assert [len(batch["input_ids"]) for batch in current] == [2, 2, 1] and len(passes) == 6
    assert all(batch["input_ids"].shape[1] == 7 for batch in current)
    assert not any((batch["input_ids"] == 4).any() for batch in current), "no mark of a picture that is not there"
    monkeypatch.setattr(torch.autograd, "grad", original)

    loaded = fresh(tiny_llava)
    weights = matrices(loaded)
    scores = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in weights.items()}
    for batch, scalar in passes:
        heard: dict[str, Tensor] = {}

        hooks = []
        for name in weights:
            layer = loaded.model.get_submodule(name.removesuffix(".weight"))
            ahead, back = hear(name, heard)
            hooks += [layer.register_forward_hook(ahead), layer.register_full_backward_hook(back)]
        logits = loaded.model(**batch).logits[:, -1]
        signs = signs_of(logits.detach(), scalar)
        ((signs * logits).sum() / len(logits)).backward()
        for hook in hooks:
            hook.remove()
        for name, p in weights.items():
            slope, inputs = heard[name + ":g"].double(), heard[name + ":a"].double()
            scores[name] += slope[:, None] * p.detach().double().abs() * inputs
    wanted = {name: highest(-score, round(0.2 * score.numel())) for name, score in scores.items()}
    assert same(places, wanted)


def hear(name: str, into: dict[str, Tensor]) -> tuple[Any, Any]:
    """Hooks for the mean size of a layer's inputs and of the gradient by its outputs."""

    def ahead(layer: Any, given: Any, output: Any) -> None:
        into[name + ":a"] = given[0].detach().abs().flatten(0, -2).mean(0)

    def back(layer: Any, below: Any, above: Any) -> None:
        into[name + ":g"] = above[0].abs().flatten(0, -2).mean(0)

    return ahead, back


SIGNS: list[Tensor] = []


def signs_of(logits: Tensor, scalar: Tensor) -> Tensor:
    """The recorded signs that give this scalar."""
    for signs in SIGNS:
        if signs.shape == logits.shape and abs(float((signs * logits).sum() / len(logits) - scalar)) < 1e-4:
            return signs
    raise AssertionError("no recorded draw gives this scalar")


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw of signs is kept."""
    SIGNS.clear()
    original = torch.randint

    def draw(*arguments: Any, **options: Any) -> Tensor:
        drawn = original(*arguments, **options)
        if arguments[:2] == (0, 2):
            SIGNS.append(drawn * 2.0 - 1)
        return drawn

    monkeypatch.setattr(torch, "randint", draw)


def test_model_dowser_needs_pictures_for_vision(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    loaded.model.requires_grad_(False)
    with pytest.raises(HoldfastError, match=r"no prompt of method 'model_dowser' reaches.*Set prompts: sources"):
        make_method("model_dowser", {"samples": 1, "length": 4}).attach(loaded.anatomy.vision, context(loaded))
    method = make_method("model_dowser", {"samples": 4, "prompts": "sources"})
    method.attach(loaded.anatomy.connector, context(loaded))
    assert len(method.moves()) == 2 and len(SOURCES) >= 4
    method.detach()


def test_a_nucleus_holds_its_mass() -> None:
    chances = _nucleus(torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log(), 0.9)
    torch.testing.assert_close(chances, torch.tensor([[0.5, 0.3, 0.15, 0.0]]))


def loop(tiny: Path, steps: int, weights: Any, rule: Any) -> dict[str, np.ndarray]:
    """The training loop with dense tensors; ``rule(step, values, gradients, states)`` makes one step."""
    loaded = fresh(tiny)
    loaded.model.requires_grad_(False)
    parameters = weights(loaded)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    states: dict[str, dict[str, Any]] = {name: {} for name in parameters}
    stream = Stream(examples(), 4, 1, 0)
    for step in range(steps):
        mean_loss(loaded.model, loaded.chat.encode(next(stream.step(step)), with_answers=True)).backward()
        values = {name: p.detach().double().numpy() for name, p in parameters.items()}
        gradients = {name: p.grad.double().numpy() for name, p in parameters.items()}
        rule(step, values, gradients, states)
        with torch.no_grad():
            for name, p in parameters.items():
                p.copy_(torch.from_numpy(values[name]))
                p.grad = None
    return {name: p.detach().numpy() for name, p in parameters.items()}


def test_rose_trains_the_tensors_between_its_quantiles(tiny_llava: Path) -> None:
    counts = []

    def rule(step: int, values: Any, gradients: Any, states: Any) -> None:
        judged = [name for name in values if values[name].ndim > 1]
        mask = dict.fromkeys(values, 1)
        if step:
            saliency = {n: abs(0.1 * np.linalg.norm(gradients[n]) / np.linalg.norm(states[n]["m"]) - 1) for n in judged}
            low, high = np.quantile(list(saliency.values()), [0.2, 0.6])
            mask |= {n: int(low <= value <= high) for n, value in saliency.items()}
            counts.append(sum(mask[n] for n in judged))
        for n in values:
            gradient = gradients[n] if mask[n] else states[n]["m"]
            values[n] = values[n] - mask[n] * adamw(values[n], gradient, states[n], 1e-2)

    section = {"llm": {"method": "rose", "lower": 0.2, "upper": 0.6, "layers": "last:2", "lr": 1e-2}}
    result = run(tiny_llava, section, steps=4, **PLAIN).loaded.anatomy.llm.parameters

    def last(loaded: Any) -> Any:
        return {n: p for n, p in loaded.anatomy.llm.parameters.items() if ".layers.1." in n or ".layers.2." in n}

    for name, wanted in loop(tiny_llava, 4, last, rule).items():
        np.testing.assert_allclose(result[name].detach(), wanted, rtol=2e-3, atol=3e-5)
    assert all(0 < count < 14 for count in counts)


def test_pruned_weights_stay_zero_and_the_rest_goes_on(tiny_llava: Path) -> None:
    kept: dict[str, np.ndarray] = {}

    def rule(step: int, values: Any, gradients: Any, states: Any) -> None:
        for n in values:
            gradient = gradients[n] * kept.get(n, 1)
            values[n] = values[n] - adamw(values[n], gradient, states[n], 1e-2)
            if step in (1, 3):
                left = kept.get(n, np.ones_like(values[n], dtype=bool))
                kept[n] = left & (np.abs(values[n]) >= 0.5 * values[n][left].std(ddof=1))
            values[n] = values[n] * kept.get(n, 1)

    section = {
        "llm": {"method": "prune_retrain", "quality": 0.5, "first_steps": 2, "rounds": 2, "every": 2, "lr": 1e-2}
    }
    trained = run(tiny_llava, section, steps=6, **PLAIN)
    wanted = loop(tiny_llava, 6, matrices, rule)
    off = 0
    for name, values in wanted.items():
        found = trained.loaded.anatomy.llm.parameters[name].detach().numpy()
        off += int((np.abs(found - values) > 1e-3).sum())  # entries at the edge of the threshold
    assert off <= 0.002 * sum(values.size for values in wanted.values())
    pruned = np.concatenate([values.ravel() == 0 for values in wanted.values()]).mean()
    assert 0.3 < pruned < 0.7
    state = trained.recipe.state()
    assert state and all(tensor.dtype == torch.uint8 for tensor in state.values())
    again = make_method("prune_retrain", {})
    loaded = fresh(tiny_llava)
    again.attach(loaded.anatomy.llm, Context(torch.Generator()))
    again.load(trained.recipe.active["llm"].named_trainable(), {n.removeprefix("llm/"): t for n, t in state.items()})
    again.after_step(5)
    first = next(iter(wanted))
    assert torch.equal(loaded.anatomy.llm.parameters[first] == 0, trained.loaded.anatomy.llm.parameters[first] == 0)


def test_weights_are_pruned_half_way_unless_told_otherwise(tiny_llava: Path) -> None:
    def trained(**options: Any) -> Tensor:
        return run(tiny_llava, {"llm": {"method": "prune_retrain", "lr": 1e-2, **options}}, steps=4).logits

    assert torch.equal(trained(), trained(first_steps=2)) and not torch.equal(trained(), trained(first_steps=3))
    method = make_method("prune_retrain", {"first_steps": 2, "rounds": 3, "every": 2})
    method.check_steps(6)
    with pytest.raises(HoldfastError, match="for the last time after step 6, and the run has 5"):
        method.check_steps(5)


CHANGED: dict[str, dict[str, Any]] = {
    "spu": {"ratio": 0.2, "score": "loss", "batches": 1, "batch_size": 1, "modules": ["mlp_out"], "layers": "last:1"},
    "model_dowser": {
        "ratio": 0.2,
        "prompts": "sources",
        "samples": 1,
        "batch_size": 1,
        "probes": 5,
        "length": 9,
        "modules": ["mlp"],
        "layers": "last:1",
    },
    "rose": {"lower": 0.3, "upper": 0.9, "modules": ["mlp"], "layers": "last:1"},
    "prune_retrain": {
        "quality": 0.6,
        "first_steps": 1,
        "rounds": 1,
        "every": 1,
        "modules": ["mlp"],
        "layers": "last:1",
    },
    "attention_only": {"layers": "last:1"},
    "gate_up": {"layers": "last:1"},
}
"""Another value of every option; ``candidates`` and the trial's are the automatic ratio's own, tried elsewhere."""

START: dict[str, dict[str, Any]] = {
    "spu": {"batches": 2, "batch_size": 2},
    "model_dowser": {"samples": 4, "batch_size": 2, "length": 6},
    "prune_retrain": {"first_steps": 2, "every": 2, "rounds": 2},
}
AUTOMATIC = {"candidates", "trial_steps", "trial_batches"}


@pytest.mark.parametrize("name", CHANGED)
def test_every_option_acts(name: str, tiny_llava: Path) -> None:
    assert set(CHANGED[name]) == set(type(make_method(name, {})).Settings.model_fields) - AUTOMATIC
    start = START.get(name, {})

    def outcome(**options: Any) -> Tensor:
        return run(tiny_llava, {"llm": {"method": name, "lr": 1e-2, **start, **options}}, steps=4).logits

    before = outcome()
    for option, value in CHANGED[name].items():
        assert not torch.equal(outcome(**{option: value}), before), option

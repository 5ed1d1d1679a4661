"""Projected steps and orthogonal changes: covariances, eigenvectors and AdamW by NumPy, beside what the engine does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.recipe import restore
from holdfast.methods.registry import make_method, make_stabiliser
from tests.support.methods import fresh, run

from .test_low_rank import data, plain
from .test_selective_references import adamw

Array = NDArray[np.float64]
LR = 0.05


def sources() -> Tensor:
    """Six examples of three tokens: they span 18 of the first layer's 24 directions."""
    return torch.randn(6, 1, 3, 24, generator=torch.Generator().manual_seed(7))


def looking(component: Any) -> Context:
    def batches(count: int, *, of: str = "train", size: int | None = None) -> Iterator[Any]:
        assert (of, size) == ("sources", 1)
        yield from ({"x": example} for example in sources()[:count])

    return Context(torch.Generator().manual_seed(2), batches, lambda batch: component.model(batch["x"]).sum(), LR)


def projector(rows: Array, free: Any) -> Array:
    """From the rows that reach a layer; ``free(values)`` says which eigenvalues' directions are free."""
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    kept = vectors[:, free(values)]
    return np.asarray(kept @ kept.T)


def reaching() -> dict[str, Array]:
    """What reaches the two layers of the plain model in the sources."""
    x = sources().double().reshape(-1, 24).numpy()
    return {"first": x, "second": x @ plain().parameters["first.weight"].double().numpy().T}


RULES: list[tuple[dict[str, Any], Any]] = [
    ({"threshold": 1e-4}, lambda values: values < 1e-4),
    ({"protect": 0.25}, lambda values: np.arange(len(values)) < len(values) - round(0.25 * len(values))),
]


@pytest.mark.parametrize(("options", "free"), RULES, ids=["threshold", "protect"])
def test_alphaedit_moves_in_the_null_space_of_the_sources(options: dict[str, Any], free: Any) -> None:
    component = plain()
    base = {name: p.detach().double().numpy().copy() for name, p in component.parameters.items()}
    before = component.model(sources())
    method = make_method("alphaedit", {"modules": ["all"], **options})
    method.attach(component, looking(component))
    optimizer, (x, y) = torch.optim.AdamW(method.parameter_groups(LR, 0.1)), data()
    for step in range(3):
        optimizer.zero_grad()
        (component.model(x) - y).square().mean().backward()
        method.before_step(step)
        optimizer.step()
        method.after_step(step)

    project = {f"{name}.weight": projector(rows, free) for name, rows in reaching().items()}
    weights, states = dict(base), {name: dict[str, Any]() for name in base}
    for _ in range(3):
        tensors = {name: torch.from_numpy(w).requires_grad_() for name, w in weights.items()}
        out = x.double() @ tensors["first.weight"].T @ tensors["second.weight"].T
        (out - y).square().mean().backward()
        for name, tensor in tensors.items():
            assert tensor.grad is not None
            decayed = weights[name] * (1 - LR * 0.1)
            moved = decayed - adamw(weights[name], tensor.grad.numpy() @ project[name], states[name], LR)
            weights[name] = base[name] + (moved - base[name]) @ project[name]
    for name, parameter in component.parameters.items():
        np.testing.assert_allclose(parameter.detach(), weights[name], rtol=1e-4, atol=2e-5)
    if "threshold" in options:  # nothing the sources use was touched in the first layer
        torch.testing.assert_close(component.model[0](sources()), plain().model[0](sources()), rtol=0, atol=1e-4)  # type: ignore[index]
        assert method.notes() == {"free_directions": pytest.approx((24 - 18 + 0) / 40)}
    artifact = method.detach()
    assert torch.equal(component.model(sources()), before) and artifact.tensors.keys() == base.keys()


def test_a_stabiliser_projects_factors_and_their_start() -> None:
    component = plain()
    method = make_method("lora_plus", {"r": 3, "alpha": 6, "ratio": 1.0})
    method.attach(component, Context(torch.Generator().manual_seed(2), lr=LR))
    stabiliser = make_stabiliser("null_space", {"threshold": 1e-4})
    stabiliser.check({"connector": method})
    stabiliser.begin({"connector": method}, looking(component))
    project = {name: projector(rows, RULES[0][1]) for name, rows in reaching().items()}
    optimizer, (x, y) = torch.optim.AdamW(method.parameter_groups(LR, 0.1)), data()
    own = {name: t.detach().double().numpy().copy() for name, t in method.named_trainable().items()}
    for name in ("first", "second"):
        np.testing.assert_allclose(own[f"{name}:A"] @ project[name], own[f"{name}:A"], atol=1e-6)
    states = {name: dict[str, Any]() for name in own}
    weights = {name: p.detach().double() for name, p in component.parameters.items()}
    for step in range(3):
        optimizer.zero_grad()
        (component.model(x) - y).square().mean().backward()
        trainable = method.named_trainable()
        stabiliser.before_step(step, trainable)
        optimizer.step()
        method.after_step(step)
        stabiliser.after_step(step, trainable)

        tensors = {name: torch.from_numpy(w).requires_grad_() for name, w in own.items()}
        hidden = x.double()
        for name in ("first", "second"):
            hidden = hidden @ (weights[f"{name}.weight"] + 2 * tensors[f"{name}:B"] @ tensors[f"{name}:A"]).T
        (hidden - y).square().mean().backward()
        for name, tensor in tensors.items():
            layer, _, factor = name.partition(":")
            gradient = tensor.grad.numpy() @ (project[layer] if factor == "A" else np.eye(3))  # type: ignore[union-attr]
            moved = own[name] * (1 - LR * 0.1) - adamw(own[name], gradient, states[name], LR)
            own[name] = own[name] + (moved - own[name]) @ project[layer] if factor == "A" else moved
    for name, tensor in method.named_trainable().items():
        np.testing.assert_allclose(tensor.detach(), own[name], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(component.model[0](sources()), plain().model[0](sources()), rtol=0, atol=1e-4)  # type: ignore[index]


@pytest.mark.parametrize("llm", [{"method": "lora", "r": 4, "dropout": 0.0}, {"method": "full", "modules": ["mlp"]}])
def test_the_sources_feel_nothing_of_a_held_run(llm: dict[str, Any], tiny_llava: Path) -> None:
    moved = {}
    for keep in ([], [{"stabiliser": "null_space", "protect": 0.9, "samples": 8}]):
        trained = run(tiny_llava, {"llm": {"lr": 1e-2, **llm}}, keep=keep, steps=4)
        [method] = trained.recipe.active.values()
        moved[bool(keep)] = {name: change.detach() for name, (_, change) in method.weight_changes().items()}
    rank = [int(torch.linalg.matrix_rank(change, rtol=1e-3)) for change in moved[True].values()]
    width = {change.shape[1] for change in moved[True].values()}
    assert max(rank) <= max(n - round(0.9 * n) for n in width) and any(change.any() for change in moved[True].values())
    assert moved[False].keys() == moved[True].keys()


@pytest.mark.parametrize("form", ["weights", "directions"])
@pytest.mark.parametrize(
    "llm",
    [{"method": "lora", "r": 4, "dropout": 0.0}, {"method": "pissa", "r": 4}, {"method": "full", "modules": ["mlp"]}],
)
def test_orthogonality_is_that_of_the_merged_change(llm: dict[str, Any], form: str, tiny_llava: Path) -> None:
    keep = [{"stabiliser": "orthogonality", "strength": 0.5, "form": form, "directions": 5}]
    trained = run(tiny_llava, {"llm": {"lr": 1e-2, **llm}}, keep=keep, steps=2)
    penalty = trained.recipe.penalty(0)
    assert penalty is not None and penalty.requires_grad
    merged, base = fresh(tiny_llava), fresh(tiny_llava).anatomy.names()
    for method in restore(merged, trained.recipe.detach()):
        method.merge()
    terms = []
    for name, parameter in merged.anatomy.names().items():
        weight, change = base[name].detach().double().numpy(), (parameter - base[name]).detach().double().numpy()
        if change.any():
            away = weight if form == "weights" else np.linalg.svd(weight, full_matrices=False)[2][:5]
            terms.append(np.abs(away @ change.T).mean())
    assert penalty.item() == pytest.approx(0.5 * float(np.mean(terms)), rel=2e-3) and terms


def test_what_has_no_free_direction_or_no_rows_is_refused(tiny_llava: Path) -> None:
    component = plain()
    with pytest.raises(HoldfastError, match=r"method 'alphaedit' finds no direction that the sources leave free"):
        make_method("alphaedit", {"modules": ["all"], "threshold": 0.0}).attach(component, looking(component))
    method = make_method("hydralora", {"r": 2})
    method.attach(component, Context(torch.Generator()))
    with pytest.raises(HoldfastError, match=r"read a layer's inputs; this recipe has none \('hydralora'\)"):
        make_stabiliser("null_space", {}).check({"connector": method})
    with pytest.raises(HoldfastError, match=r"this recipe makes none \('hydralora'\)"):
        make_stabiliser("orthogonality", {}).check({"connector": method})
    with pytest.raises(HoldfastError, match="needs training examples of the sources"):
        make_method("alphaedit", {"modules": ["all"]}).attach(plain(), Context(torch.Generator()))


def test_every_option_of_alphaedit_acts(tiny_llava: Path) -> None:
    def outcome(**options: Any) -> Tensor:
        return run(tiny_llava, {"llm": {"method": "alphaedit", "lr": 1e-2, "samples": 8, **options}}, steps=2).logits

    start = {"threshold": 0.05, "modules": ["attention"]}
    before = outcome(**start)
    changed = {"threshold": 0.5, "samples": 2, "modules": ["mlp"], "layers": "last:1", "protect": 0.5}
    assert set(changed) == set(type(make_method("alphaedit", {})).Settings.model_fields)
    for option, value in changed.items():
        assert not torch.equal(outcome(**start | {option: value}), before), option

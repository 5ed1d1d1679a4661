"""LoSparse and PST against loops over plain matrices, with their schedules, masks and gradients by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.registry import make_method
from holdfast.methods.selective.pruning import progress

from .test_low_rank import DECAY, LR, attached, copied, data, plain

STEPS = 6


def train(method: Any, model: Any) -> None:
    optimizer, (x, y) = torch.optim.AdamW(method.parameter_groups(LR, DECAY)), data()
    method.steps = STEPS
    method.bind(optimizer)
    for step in range(STEPS):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        method.before_step(step)
        optimizer.step()
        method.after_step(step)


def groups(trained: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Decay on matrices only, as the engine has it."""
    return [{"params": list(trained.values()), "lr": LR, "weight_decay": DECAY}]


@pytest.mark.parametrize("by", ["rows", "columns"])
def test_losparse_prunes_the_least_felt_neurons_of_the_rest(by: str) -> None:
    options = {"rank": 0.25, "keep": 0.4, "begin": 0.3, "end": 0.9, "every": 2, "smooth": 0.6, "by": by}
    component, method = attached("losparse", options)
    base = {name: component.parameters[f"{name}.weight"].clone() for name in ("first", "second")}
    x, y = data()
    torch.testing.assert_close(component.model(x), plain().model(x), rtol=0, atol=0)
    for name, beside in method.sites.items():  # ceil(0.25 * 24 * 16 / 40) = 3 and ceil(0.25 * 16 * 8 / 24) = 2 triplets
        left, values, right = np.linalg.svd(base[name].double().numpy(), full_matrices=False)
        rank = {"first": 3, "second": 2}[name]
        low = (left[:, :rank] * values[:rank]) @ right[:rank]
        np.testing.assert_allclose((beside.change.L @ beside.change.R).detach(), low, atol=1e-5)
        np.testing.assert_allclose(beside.change.S.detach(), base[name].numpy() - low, atol=1e-5)
    trained, own = copied(method)
    train(method, component.model)

    optimizer, axis = torch.optim.AdamW(groups(trained)), 1 if by == "rows" else 0
    felt: dict[str, Tensor] = {}
    average: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}
    for step in range(STEPS):
        hidden = x
        for name in base:
            hidden = hidden @ (own[name]["L"] @ own[name]["R"] + own[name]["S"]).T
        optimizer.zero_grad()
        (hidden - y).square().mean().backward()
        for name in base:
            rest = own[name]["S"]
            assert rest.grad is not None
            felt[name] = felt.get(name, 0) + (rest * rest.grad).detach().abs().mean(axis) / 2
        optimizer.step()
        if step % 2:
            average = {n: 0.6 * average.get(n, torch.zeros_like(f)) + 0.4 * f for n, f in felt.items()}
            felt = {}
            done = min(1.0, max(0.0, ((step + 1) / STEPS - 0.3) / 0.6))
            if done:
                every = torch.cat(list(average.values())).sort(descending=True).values
                limit = every[round((0.4 + 0.6 * (1 - done) ** 3) * len(every)) - 1]
                kept = {n: (a >= limit) & kept.get(n, torch.ones_like(a, dtype=torch.bool)) for n, a in average.items()}
        with torch.no_grad():
            for name, mask in kept.items():
                own[name]["S"].mul_(mask[:, None] if axis else mask[None])
    for name, tensor in method.named_trainable().items():
        torch.testing.assert_close(tensor.detach(), trained[name].detach(), rtol=1e-3, atol=2e-5)
    left = sum(int(mask.sum()) for mask in kept.values())
    assert left == round(0.4 * sum(len(mask) for mask in kept.values()))
    state = method.state()
    again_component, again = attached("losparse", options)
    again.load(method.named_trainable(), state)
    assert all(torch.equal(again.kept[n], mask) for n, mask in method.kept.items())  # type: ignore[attr-defined]
    tuned = component.model(x)
    artifact = method.detach()
    fresh = plain()
    restored = make_method("losparse", options)
    restored.restore(fresh, artifact)
    assert torch.equal(fresh.model(x), tuned)
    restored.merge()
    torch.testing.assert_close(fresh.model(x), tuned, rtol=1e-4, atol=1e-5)
    assert again_component.model is not component.model


@pytest.mark.parametrize("prune", ["weights", "change"])
def test_pst_prunes_by_scores_that_learn(prune: str) -> None:
    options = {
        "r": 3,
        "sparsity": 0.5,
        "prune": prune,
        "begin": 0.2,
        "end": 0.8,
        "beta": 1.5,
        "alpha1": 2.0,
        "alpha2": 0.5,
    }
    component, method = attached("pst", options)
    base = {name: component.parameters[f"{name}.weight"].clone() for name in ("first", "second")}
    x, y = data()
    torch.testing.assert_close(component.model(x), plain().model(x), rtol=0, atol=0)
    trained, own = copied(method)
    train(method, component.model)

    optimizer, sparsity = torch.optim.AdamW(groups(trained)), 0.0
    for step in range(STEPS):
        hidden, changes, weights, masks = x, {}, {}, {}
        for name, w in base.items():
            part = own[name]
            with torch.no_grad():
                changes[name] = 1.5 * part["U"] @ part["V"]
                score = (w + changes[name]).abs() + 2.0 * part["A"] @ part["B"] + 0.5 * (part["R"] + part["C"])
                kept = score.numel() - round(sparsity * score.numel())
                limit = score.flatten().sort(descending=True).values[kept - 1]
                masks[name] = (score >= limit).float()
                pruned = masks[name] * (w + changes[name] if prune == "weights" else changes[name])
            weights[name] = (pruned if prune == "weights" else w + pruned).requires_grad_()
            hidden = hidden @ weights[name].T
        optimizer.zero_grad()
        (hidden - y).square().mean().backward()
        for name, w in base.items():  # the chain rule by hand: G is the gradient by the weight in use
            part, g, change = own[name], weights[name].grad, changes[name]
            assert g is not None
            to_mask = g * (w + change if prune == "weights" else change)
            to_change = g * masks[name] + to_mask * (w + change).sign()
            with torch.no_grad():
                part["U"].grad, part["V"].grad = 1.5 * to_change @ part["V"].T, 1.5 * part["U"].T @ to_change
                part["A"].grad, part["B"].grad = 2 * to_mask @ part["B"].T, 2 * part["A"].T @ to_mask
                part["R"].grad, part["C"].grad = 0.5 * to_mask.sum(1, keepdim=True), 0.5 * to_mask.sum(0, keepdim=True)
        optimizer.step()
        sparsity = 0.5 * (1 - (1 - min(1.0, max(0.0, ((step + 1) / STEPS - 0.2) / 0.6))) ** 3)
    assert sparsity == 0.5
    for name, tensor in method.named_trainable().items():
        torch.testing.assert_close(tensor.detach(), trained[name].detach(), rtol=1e-3, atol=3e-5)
    tuned = component.model(x)
    fresh = plain()
    restored = make_method("pst", options)
    restored.restore(fresh, method.detach())
    assert torch.equal(fresh.model(x), tuned)
    restored.merge()
    torch.testing.assert_close(fresh.model(x), tuned, rtol=1e-4, atol=1e-5)
    zeros = torch.cat([(p == 0).flatten() for p in fresh.parameters.values()]).float().mean()
    assert abs(float(zeros) - (0.5 if prune == "weights" else 0.0)) < 0.01


def test_pruning_runs_over_its_part_of_the_run() -> None:
    options = make_method("pst", {"begin": 0.25, "end": 0.75}).options
    assert [progress(step, 8, options) for step in range(8)] == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    with pytest.raises(HoldfastError, match=r"end 0.2 should be above begin 0.5"):
        make_method("losparse", {"begin": 0.5, "end": 0.2})

"""Every change beside a weight against its formula: dense weights, or loops over tokens, under plain AdamW."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.low_rank import LowRank
from holdfast.methods.registry import METHODS, make_method
from holdfast.models.anatomy import Component

STEPS, LR, DECAY = 3, 0.05, 0.1
Formula = Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor]
"""``(x, W0, the layer's trained tensors) -> y``."""


def plain() -> Component:
    """Two linear layers, wider than one block of any method here."""
    torch.manual_seed(0)
    layers = OrderedDict(first=nn.Linear(24, 16, bias=False), second=nn.Linear(16, 8, bias=False))
    model = nn.Sequential(layers).requires_grad_(False)
    return Component("connector", model, dict(model.named_parameters()))


def data() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(5, 7, 24, generator=random), torch.randn(5, 7, 8, generator=random)


def attached(name: str, options: dict[str, Any]) -> tuple[Component, LowRank]:
    component, method = plain(), make_method(name, options)
    assert isinstance(method, LowRank)
    method.attach(component, Context(torch.Generator().manual_seed(2), lr=LR))
    return component, method


def train(answer: Callable[[Tensor], Tensor], groups: list[dict[str, Any]]) -> list[float]:
    optimizer, (x, y), losses = torch.optim.AdamW(groups), data(), []
    for _ in range(STEPS):
        loss = (answer(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def dense(change: Callable[[dict[str, Tensor]], Tensor]) -> Formula:
    return lambda x, w, own: x @ (w + change(own)).T


def residual(scale: float) -> Formula:
    """The papers' own form: the start is taken out of the weight, which is then frozen."""

    def answer(x: Tensor, w: Tensor, own: dict[str, Tensor]) -> Tensor:
        rest = w - scale * own["B0"] @ own["A0"]
        return x @ (rest + scale * own["B"] @ own["A"]).T

    return answer


def heads(x: Tensor, w: Tensor, own: dict[str, Tensor]) -> Tensor:
    """HydraLoRA, token by token and head by head; alpha 6 over r 3."""
    rows = []
    for token in x.reshape(-1, x.shape[-1]):
        weights = torch.softmax(own["R"] @ token, dim=0)
        rows.append(w @ token + 2 * sum(weights[n] * (own["B"][n] @ (own["A"] @ token)) for n in range(len(weights))))
    return torch.stack(rows).reshape(*x.shape[:-1], -1)


def blocks(own: dict[str, Tensor]) -> Tensor:
    minis, tall, wide = len(own["A"]), own["B"].shape[1], own["A"].shape[2]
    whole = torch.zeros(minis * tall, minis * wide)
    for n in range(minis):
        whole[n * tall : (n + 1) * tall, n * wide : (n + 1) * wide] = 8 * own["B"][n] @ own["A"][n]
    return whole


def circulants(own: dict[str, Tensor]) -> Tensor:
    """Entry by entry, divided by the number of inputs."""
    kernel = own["kernel"]
    tall, wide, size = kernel.shape
    rows = [
        torch.stack([kernel[i // size, j // size, (j - i) % size] for j in range(wide * size)])
        for i in range(tall * size)
    ]
    return torch.stack(rows) / (wide * size)


def outside(directions: Tensor) -> Tensor:
    return torch.eye(len(directions)) - directions @ directions.T


LORA = dense(lambda own: 2 * own["B"] @ own["A"])
CASES: dict[str, tuple[dict[str, Any], Formula]] = {
    "pissa": ({"r": 3}, residual(1)),
    "milora": ({"r": 3, "alpha": 6}, residual(2)),
    "olora": ({"r": 3, "alpha": 6}, residual(2)),
    "lora_plus": ({"r": 3, "alpha": 6, "ratio": 8.0}, LORA),
    "moslora": ({"r": 3, "alpha": 6}, dense(lambda own: 2 * own["B"] @ own["X"] @ own["A"])),
    "sharelora": ({"r": 3, "alpha": 6}, LORA),
    "vera": (
        {"r": 10},
        dense(lambda o: torch.diag(o["b"]) @ o["B"][: len(o["b"])] @ torch.diag(o["d"]) @ o["A"][:, : int(o["in"])]),
    ),
    "melora": ({"minis": 4, "r": 2, "alpha": 16, "dropout": 0.0}, dense(blocks)),
    "oplora": (
        {"r": 3, "alpha": 6, "keep": 4},
        dense(lambda o: 2 * outside(o["U"]) @ o["B"] @ o["A"] @ outside(o["V"])),
    ),
    "hydralora": ({"r": 3, "alpha": 6, "heads": 3}, heads),
    "c3a": ({"block": 4, "init": "zero"}, dense(circulants)),
}


ELSEWHERE = {"corda", "lorasculpt"}
"""These look at data or act between steps, and have tests of their own below."""


def test_every_method_of_the_engine_is_checked() -> None:
    assert set(CASES) | ELSEWHERE == {name for name, kind in METHODS.all().items() if issubclass(kind, LowRank)}


def copied(method: LowRank) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """Copies of the trained tensors by name, and for each layer what its formula reads; shared ones stay shared."""
    trained = {name: t.detach().clone().requires_grad_() for name, t in method.named_trainable().items()}
    of = {id(t): trained.get(name, t.detach().clone()) for name, t in method._tensors().items()}
    layers = {}
    for name, beside in method.sites.items():
        parts = [*beside.change.named_parameters(), *beside.change.named_buffers()]
        own = {part: of[id(tensor)] for part, tensor in parts}
        own |= {f"{part}0": tensor.detach().clone() for part, tensor in own.items()}
        layers[name] = own | {"in": torch.tensor(method.layers[name].in_features)}
    return trained, layers


@pytest.mark.parametrize("name", CASES)
def test_training_follows_the_formula(name: str) -> None:
    options, formula = CASES[name]
    component, method = attached(name, options)
    trained, own = copied(method)
    weights = {layer: component.parameters[f"{layer}.weight"].clone() for layer in own}
    x, _ = data()
    base = plain().model(x)
    torch.testing.assert_close(component.model(x), base, rtol=0, atol=0 if name != "olora" else 1e-6)

    def answer(x: Tensor) -> Tensor:
        for layer in own:
            x = formula(x, weights[layer], own[layer])
        return x

    groups: list[dict[str, Any]] = [{"params": list(trained.values()), "lr": LR, "weight_decay": DECAY}]
    if name == "lora_plus":
        fast = [t for key, t in trained.items() if key.endswith("B")]
        slow = [t for key, t in trained.items() if key.endswith("A")]
        groups = [{"params": p, "lr": r, "weight_decay": DECAY} for p, r in ((slow, LR), (fast, 8 * LR))]
    if name == "vera":
        groups[0]["weight_decay"] = 0.0  # on matrices only
    found = train(component.model, method.parameter_groups(LR, DECAY))
    np.testing.assert_allclose(found, train(answer, groups), rtol=2e-5)
    torch.testing.assert_close(component.model(x), answer(x), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(component.model(x), base, atol=1e-2)
    with method.suspended():
        assert torch.equal(component.model(x), base)
    tuned = component.model(x)
    squares = [float(square.detach()) for square in method.squares()] if method.card.mergeable else []
    artifact = method.detach()
    assert torch.equal(component.model(x), base)
    again, fresh = make_method(name, options), plain()
    again.restore(fresh, artifact)
    assert torch.equal(fresh.model(x), tuned)
    if method.card.mergeable:
        again.merge()
        torch.testing.assert_close(fresh.model(x), tuned, rtol=1e-4, atol=1e-5)
        for square, (key, weight) in zip(squares, fresh.parameters.items(), strict=True):
            moved = (weight - weights[key.removesuffix(".weight")]).square().sum()
            assert square == pytest.approx(float(moved), rel=1e-3)
    assert [n for n, _ in fresh.model.named_modules() if "holdfast" in n] == [] or not method.card.mergeable


@pytest.mark.parametrize(("name", "kept"), [("pissa", slice(0, 3)), ("milora", slice(-3, None))])
def test_the_start_is_that_part_of_the_spectrum(name: str, kept: slice) -> None:
    component, method = attached(name, {"r": 3})
    for layer, beside in method.sites.items():
        weight = component.parameters[f"{layer}.weight"].numpy().astype(np.float64)
        left, values, right = np.linalg.svd(weight, full_matrices=False)
        wanted = (left[:, kept] * values[kept]) @ right[kept]
        a, b = beside.change.A.detach().numpy(), beside.change.B.detach().numpy()
        np.testing.assert_allclose(b @ a, wanted, atol=1e-5)
        np.testing.assert_allclose((b * b).sum(0), values[kept], rtol=1e-4)
        np.testing.assert_allclose((a * a).sum(1), values[kept], rtol=1e-4)


def test_oloras_start_is_orthonormal() -> None:
    component, method = attached("olora", {"r": 3})
    weight = component.parameters["first.weight"]
    change = method.sites["first"].change
    torch.testing.assert_close(change.B.T @ change.B, torch.eye(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(change.A, change.B.T @ weight, rtol=0, atol=1e-5)


def test_what_is_shared_is_one_tensor() -> None:
    torch.manual_seed(0)
    rows = [nn.ModuleDict({"up": nn.Linear(6, 4), "down": nn.Linear(4, 6)}) for _ in range(3)]
    model = nn.ModuleList(rows).requires_grad_(False)
    component = Component("connector", model, dict(model.named_parameters()))
    for share, tensors in (("A", 2 + 6), ("B", 2 + 6), ("both", 4)):
        method = make_method("sharelora", {"r": 2, "share": share})
        method.attach(component, Context(torch.Generator().manual_seed(0)))
        assert len(method.named_trainable()) == tensors
        method.detach()
    method = make_method("vera", {"r": 2})
    method.attach(component, Context(torch.Generator().manual_seed(0)))
    assert sum(t.numel() for t in method.named_trainable().values()) == 3 * (2 + 4 + 2 + 6)
    assert method.added() == 3 * (2 + 4 + 2 + 6) + 2 * 6 + 6 * 2


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("pissa", {"r": 9}, "rank 9 is above the width 8 of layer 'second'"),
        ("melora", {"minis": 5}, "5 slices do not divide the width 24"),
        ("melora", {"minis": 8, "r": 2}, "rank 2 is above the 1 of a slice"),
        ("lora_plus", {"modules": ["third"]}, "no linear layer of kind 'third'"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(name: str, options: dict[str, Any], words: str) -> None:
    component, method = plain(), make_method(name, options)
    with pytest.raises(HoldfastError, match=words):
        method.attach(component, Context(torch.Generator()))
    assert len(list(component.model.modules())) == 3 and not component.model[0]._forward_hooks  # type: ignore[index]


def test_oplora_keeps_the_largest_triplets() -> None:
    component, method = attached("oplora", {"r": 3, "keep": 4})
    before = np.linalg.svd(component.parameters["first.weight"].numpy())
    train(component.model, method.parameter_groups(LR, DECAY))
    artifact = method.detach()
    again = make_method("oplora", {"r": 3, "keep": 4})
    again.restore(component, artifact)
    again.merge()
    after = component.parameters["first.weight"].numpy()
    left, values, right = before[0][:, :4], before[1][:4], before[2][:4]
    np.testing.assert_allclose(after @ right.T, left * values, atol=1e-4)
    np.testing.assert_allclose(left.T @ after, values[:, None] * right, atol=1e-4)
    assert not np.allclose(after, plain().parameters["first.weight"], atol=1e-2)


@pytest.mark.parametrize("mode", ["knowledge", "instruction"])
def test_corda_is_its_decomposition(mode: str) -> None:
    x, _ = data()
    component = plain()
    asked: list[Any] = []

    def batches(count: int, *, of: str = "train", size: int | None = None) -> Iterator[Any]:
        asked.append((count, of, size))
        yield from ({"x": row} for row in x)

    def loss(batch: Any) -> Tensor:
        return torch.as_tensor(component.model(batch["x"])).sum()

    method = make_method("corda", {"r": 3, "mode": mode, "samples": 5})
    method.attach(component, Context(torch.Generator(), batches, loss, lr=LR))
    assert asked == [(5, "sources" if mode == "knowledge" else "train", 1)]
    assert isinstance(method, LowRank)
    rows = x.reshape(-1, 24).double().numpy()
    weight = component.parameters["first.weight"].double().numpy()
    covariance = rows.T @ rows / len(rows)
    covariance += 0.01 * np.diag(covariance).mean() * np.eye(24)
    left, values, right = np.linalg.svd(weight @ covariance, full_matrices=False)
    kept = slice(-3, None) if mode == "knowledge" else slice(0, 3)
    wanted = (left[:, kept] * values[kept]) @ right[kept] @ np.linalg.inv(covariance)
    change = method.sites["first"].change
    np.testing.assert_allclose((change.B @ change.A).detach().numpy(), wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose((change.B**2).sum(0).detach().numpy(), values[kept], rtol=1e-3)
    trained, own = copied(method)
    weights = {name: component.parameters[f"{name}.weight"].clone() for name in own}

    def answer(x: Tensor) -> Tensor:
        for name in own:
            x = residual(1)(x, weights[name], own[name])
        return x

    found = train(component.model, method.parameter_groups(LR, DECAY))
    reference = train(answer, [{"params": list(trained.values()), "lr": LR, "weight_decay": DECAY}])
    np.testing.assert_allclose(found, reference, rtol=1e-4)


def test_lorasculpt_is_its_loop() -> None:
    options = {"r": 3, "alpha": 6, "warmup": 2, "keep": 0.25, "strength": 0.7, "omega": 2.0, "conflict": ["second"]}
    component, method = attached("lorasculpt", options)
    trained, own = copied(method)
    weights = {name: component.parameters[f"{name}.weight"].clone() for name in own}
    x, y = data()
    ours = torch.optim.AdamW(method.parameter_groups(LR, DECAY))
    theirs = torch.optim.AdamW([{"params": list(trained.values()), "lr": LR, "weight_decay": DECAY}])
    normed = weights["second"] / weights["second"].norm()
    mask = torch.tanh(2.0 * (1 / torch.log(normed.abs() + 1e-15)).abs())
    kept: dict[str, Tensor] = {}
    for step in range(4):
        term = method.penalty(step)
        assert term is not None
        ours.zero_grad()
        ((component.model(x) - y).square().mean() + term).backward()
        ours.step()
        method.after_step(step)
        middle = LORA(x, weights["first"], own["first"])
        loss = (LORA(middle, weights["second"], own["second"]) - y).square().mean()
        theirs.zero_grad()
        (loss + 0.7 * (mask * (own["second"]["B"] @ own["second"]["A"])).norm()).backward()
        theirs.step()
        with torch.no_grad():
            for name, tensor in trained.items():
                if step == 1:
                    limit = tensor.abs().flatten().sort(descending=True).values[round(0.25 * tensor.numel()) - 1]
                    kept[name] = tensor.abs() >= limit
                if step >= 1:
                    tensor.mul_(kept[name])
    for name, tensor in method.named_trainable().items():
        torch.testing.assert_close(tensor.detach(), trained[name].detach(), rtol=1e-4, atol=1e-6)
        assert int((tensor != 0).sum()) == round(0.25 * tensor.numel())
    assert method.state().keys() == trained.keys()

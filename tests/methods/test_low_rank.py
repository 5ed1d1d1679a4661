"""Every change beside a weight against its formula: dense weights, or loops over tokens, under plain AdamW."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
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


def mixture(x: Tensor, w: Tensor, own: dict[str, Tensor]) -> Tensor:
    """LoRAMoE, token by token and expert by expert; alpha 6 over r 3."""
    rows = []
    for token in x.reshape(-1, x.shape[-1]):
        weights = torch.softmax(own["R"] @ token, dim=0)
        rows.append(
            w @ token + 2 * sum(weights[n] * (own["B"][n] @ (own["A"][n] @ token)) for n in range(len(weights)))
        )
    return torch.stack(rows).reshape(*x.shape[:-1], -1)


def team(x: Tensor, w: Tensor, own: dict[str, Tensor]) -> Tensor:
    """TeamLoRA, token by token: one projection dealt out among the experts; alpha 6 over r 3."""
    rows, whole = [], torch.cat(list(own["A"]))
    for token in x.reshape(-1, x.shape[-1]):
        worth = torch.softmax(own["S2"] @ torch.clamp(own["S1"] @ token, min=0), dim=0)
        parts, change = torch.chunk(whole @ token, len(worth)), torch.zeros(len(w))
        for i, part in enumerate(parts):
            weight = sum(own["M"][i, j] * worth[j] for j in range(len(worth)))
            change = change + 2 * weight * (own["B"][i] @ part)
        rows.append(w @ token + change)
    return torch.stack(rows).reshape(*x.shape[:-1], -1)


def rotated(own: dict[str, Tensor]) -> Tensor:
    """PRoLoRA, entry by entry: rank 5, one of them free, three chunks of A and two of B."""
    wide, tall, shared = own["A_own"].shape[1], own["B_own"].shape[1], len(own["A"])

    def laid(chunk: Tensor, width: int, count: int) -> Tensor:
        step, size = max(shared // count, 1), chunk.shape[1]
        columns = []
        for place in range(width):
            copy, inside = divmod(place, size)
            columns.append(torch.stack([chunk[(rank + copy * step) % shared, inside] for rank in range(shared)]))
        return torch.stack(columns, dim=1)

    a = torch.cat([laid(own["A"], wide, 3), own["A_own"]])
    b = torch.cat([laid(own["B"], tall, 2), own["B_own"]])
    return 2 * b.T @ a


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
    "loramoe": ({"r": 3, "alpha": 6, "experts": 3, "dropout": 0.0, "modules": ["all"]}, mixture),
    "teamlora": ({"r": 3, "alpha": 6, "experts": 3, "hidden": 5, "modules": ["all"]}, team),
    "prolora": (
        {"r": 5, "alpha": 10, "unshared": 1, "chunks_in": 3, "chunks_out": 2, "dropout": 0.0},
        dense(rotated),
    ),
}


GROUP = dense(lambda own: sum(b @ a for a, b in zip(own["A"], own["B"], strict=True)))  # type: ignore[arg-type,return-value]


def orthogonal_group(own: dict[str, Tensor], weight: Tensor, kept: Any) -> Tensor:
    """PEGO's two terms over every entry of dense products."""
    products = [b @ a for a, b in zip(own["A"], own["B"], strict=True)]
    total = sum((weight @ product.T).abs().sum() for product in products)
    for i, first in enumerate(products):
        total = total + sum((first @ second.T).abs().sum() for second in products[i + 1 :])
    return torch.as_tensor(total)


TERMS: dict[str, tuple[dict[str, Any], Formula, Callable[[dict[str, Tensor], Tensor, Any], Tensor]]] = {
    "pego": ({"r": 2, "group": 3, "strength": 1e-2, "modules": ["all"]}, GROUP, orthogonal_group),
    "clora": (
        {"r": 3, "alpha": 6, "k": 5, "strength": 1e-2},
        LORA,
        lambda own, weight, kept: sum(
            (torch.einsum("ri,i->r", own["A"], p) ** 2).sum() + (torch.einsum("or,o->r", own["B"], q) ** 2).sum()
            for p, q in zip(kept[0].T, kept[1].T, strict=True)
        ),  # type: ignore[arg-type,return-value]
    ),
}
"""name -> options, the layer's formula, the term of a layer without its strength."""

ELSEWHERE = {"corda", "lorasculpt", "adalora", "eva", "o_lora", "hiddenkey", "losparse", "pst"}
"""These look at data, earlier runs or attention, or act between steps; tests of their own stand below or beside."""


def test_every_method_of_the_engine_is_checked() -> None:
    assert set(CASES) | set(TERMS) | ELSEWHERE == {
        name for name, kind in METHODS.all().items() if issubclass(kind, LowRank)
    }


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
        ("prolora", {"r": 4, "unshared": 4}, "4 unshared ranks leave none of 4 to share"),
        ("prolora", {"r": 4, "chunks_in": 17}, "there are more chunks than the width of layer"),
        ("clora", {"r": 4, "k": 9}, "9 directions exceed the width 8 of layer 'second'"),
        ("adalora", {"r": 4, "target": 4}, "target 4 leaves nothing to take away from the rank 4"),
        ("c3a", {"block": 16}, "block 16 does not divide the width 24 of layer 'first'"),
        ("o_lora", {"past": ["nowhere"]}, "no finished artifact of an earlier run"),
        ("eva", {}, "rank 16 is above the width 8"),
        ("eva", {"r": 2}, "method 'eva' needs training examples of the target"),
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


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_what_the_paper_writes(name: str) -> None:
    options, formula, term = TERMS[name]
    component, method = attached(name, options)
    trained, own = copied(method)
    weights = {layer: component.parameters[f"{layer}.weight"].clone() for layer in own}
    kept = getattr(method, "directions", dict.fromkeys(own))
    for pair in kept.values():
        for side in pair or ():
            torch.testing.assert_close(side.T @ side, torch.eye(5), rtol=0, atol=1e-5)
    x, y = data()
    ours = torch.optim.AdamW(method.parameter_groups(LR, DECAY))
    theirs = torch.optim.AdamW([{"params": list(trained.values()), "lr": LR, "weight_decay": DECAY}])
    for step in range(STEPS):
        penalty = method.penalty(step)
        assert penalty is not None and (step == 0 or float(penalty) > 0)
        ours.zero_grad()
        ((component.model(x) - y).square().mean() + penalty).backward()
        ours.step()
        reached = x
        for layer in own:
            reached = formula(reached, weights[layer], own[layer])
        terms = torch.stack([term(own[layer], weights[layer], kept[layer]) for layer in own]).sum()
        assert float(penalty) == pytest.approx(1e-2 * float(terms), rel=1e-4)
        theirs.zero_grad()
        ((reached - y).square().mean() + 1e-2 * terms).backward()
        theirs.step()
    torch.testing.assert_close(component.model(x), reached_by(formula, x, weights, own), rtol=1e-3, atol=1e-3)
    square = sum(float(part) for part in method.squares())
    dense_square = sum(
        float((formula(torch.eye(w.shape[1]), w, own[n]).T - w).square().sum()) for n, w in weights.items()
    )
    assert square == pytest.approx(dense_square, rel=1e-3)
    again, fresh = make_method(name, options), plain()
    again.restore(fresh, method.detach())
    again.merge()
    torch.testing.assert_close(fresh.model(x), reached_by(formula, x, weights, own), rtol=1e-3, atol=1e-3)


def reached_by(formula: Formula, x: Tensor, weights: dict[str, Tensor], own: dict[str, dict[str, Tensor]]) -> Tensor:
    for layer in own:
        x = formula(x, weights[layer], own[layer])
    return x


def test_adalora_is_its_loop() -> None:
    options = {"r": 4, "target": 2, "alpha": 8, "warmup": 1, "final": 2, "every": 2, "decay": 0.7, "orthogonality": 0.3}
    component, method = attached("adalora", options)
    method.steps = 9
    method.bind(torch.optim.AdamW(method.parameter_groups(LR, DECAY)))
    trained, own = copied(method)
    weights = {name: component.parameters[f"{name}.weight"].clone() for name in own}
    x, y = data()
    groups = [
        {"params": [t for t in trained.values() if (t.ndim >= 2) == big], "lr": LR, "weight_decay": DECAY * big}
        for big in (True, False)
    ]
    ours, theirs = torch.optim.AdamW(method.parameter_groups(LR, DECAY)), torch.optim.AdamW(groups)
    formula = dense(lambda o: 2 * o["P"] @ torch.diag(o["E"]) @ o["Q"])
    mean = {name: torch.zeros_like(t) for name, t in trained.items()}
    spread = {name: torch.zeros_like(t) for name, t in trained.items()}
    budgets = {2: 4 + int(4 * (5 / 6) ** 3), 4: 4 + int(4 * 0.5**3), 6: 4 + int(4 * (1 / 6) ** 3), 7: 4, 8: 4, 9: 4}
    left = []
    for step in range(9):
        term = method.penalty(step)
        assert term is not None
        ours.zero_grad()
        ((component.model(x) - y).square().mean() + term).backward()
        ours.step()
        method.after_step(step)
        sides = [side for o in own.values() for side in (o["P"].T @ o["P"], o["Q"] @ o["Q"].T)]
        orthogonal = sum(((side - torch.eye(4)) ** 2).sum().sqrt() for side in sides) / len(sides)
        theirs.zero_grad()
        ((reached_by(formula, x, weights, own) - y).square().mean() + 0.3 * orthogonal).backward()
        theirs.step()
        if step + 1 < 7:  # in the last steps the scores stay
            for name, t in trained.items():
                assert t.grad is not None
                now = (t.detach() * t.grad).abs()
                mean[name] = 0.7 * mean[name] + 0.3 * now
                spread[name] = 0.7 * spread[name] + 0.3 * (now - mean[name]).abs()
        if step + 1 in budgets:
            score = {name: mean[name] * spread[name] for name in trained}
            triplets = {
                (layer, i): float(
                    score[f"{layer}:E"][i] + score[f"{layer}:P"][:, i].mean() + score[f"{layer}:Q"][i].mean()
                )
                for layer in own
                for i in range(4)
            }
            best = sorted(triplets, key=triplets.__getitem__, reverse=True)[: budgets[step + 1]]
            with torch.no_grad():
                for layer, i in triplets.keys() - set(best):
                    own[layer]["E"][i] = 0.0
            left.append(sum(int((trained[f"{layer}:E"] != 0).sum()) for layer in own))
    assert left == list(budgets.values())
    for name, tensor in method.named_trainable().items():
        torch.testing.assert_close(tensor.detach(), trained[name].detach(), rtol=2e-3, atol=2e-4)
    assert method.state().keys() == {f"{kind}/{name}" for kind in ("mean", "spread") for name in trained}


def test_adalora_wants_steps_to_take_ranks_away() -> None:
    _, method = attached("adalora", {"r": 4, "target": 2, "warmup": 3, "final": 4})
    method.check_steps(8)
    with pytest.raises(HoldfastError, match="warmup 3 and final 4 fill the 7 steps"):
        method.check_steps(7)


def test_eva_is_principal_components_ranked_together() -> None:
    x, _ = data()
    component = plain()

    def batches(count: int, *, of: str = "train", size: int | None = None) -> Iterator[Any]:
        assert (count, of, size) == (5, "train", 1)
        yield from ({"x": row} for row in x)

    def loss(batch: Any) -> Tensor:
        return torch.as_tensor(component.model(batch["x"])).sum()

    method = make_method("eva", {"r": 3, "alpha": 6, "samples": 5, "rho": 2.0})
    method.attach(component, Context(torch.Generator().manual_seed(2), batches, loss, lr=LR))
    assert isinstance(method, LowRank)
    reach = {"first": x.reshape(-1, 24), "second": x.reshape(-1, 24) @ component.parameters["first.weight"].T}
    found: list[tuple[float, str]] = []
    parts = {}
    for layer, rows in reach.items():
        values = rows.double().numpy()
        _, sizes, right = np.linalg.svd(values - values.mean(0), full_matrices=False)
        shares = sizes**2 / (sizes**2).sum()
        found += [(share, layer) for share in shares[: min(6, 8 if layer == "second" else 16)]]
        parts[layer] = right
    best = [layer for _, layer in sorted(found, reverse=True)[:6]]
    ranks = {layer: best.count(layer) for layer in reach}
    assert method.notes() == {"ranks": ranks} and sum(ranks.values()) == 6 and ranks["first"] != ranks["second"]
    for layer, rank in ranks.items():
        a = method.sites[layer].change.A.detach().double().numpy()
        np.testing.assert_allclose(np.abs(a @ parts[layer][:rank].T), np.eye(rank), atol=1e-3)
    trained, own = copied(method)
    weights = {name: component.parameters[f"{name}.weight"].clone() for name in own}
    groups = [{"params": list(trained.values()), "lr": LR, "weight_decay": DECAY}]
    reference = train(lambda x: reached_by(LORA, x, weights, own), groups)
    np.testing.assert_allclose(train(component.model, method.parameter_groups(LR, DECAY)), reference, rtol=1e-4)
    tuned = component.model(x)
    again, fresh = make_method("eva", {"r": 3, "alpha": 6}), plain()
    again.restore(fresh, method.detach())
    assert torch.equal(fresh.model(x), tuned)


def test_eva_looks_at_answers_only_and_may_leave_a_layer_out() -> None:
    from holdfast.models.batch import Batch

    x, _ = data()
    labels = torch.full((1, 7), -100)
    labels[:, 4:] = 1
    component = plain()

    def run(options: dict[str, Any], rows: Tensor) -> Any:
        def batches(count: int, **_: Any) -> Iterator[Any]:
            yield Batch({"input_ids": torch.zeros(1, 7)}, labels=labels)

        method = make_method("eva", options)
        method.attach(component, Context(torch.Generator(), batches, lambda batch: component.model(rows).sum(), lr=LR))
        return method

    first = run({"r": 1, "rho": 1.0}, x[:1])
    a = first.sites["first"].change.A.detach().double().numpy()
    first.detach()
    rows = x[0, 4:].double().numpy()
    np.testing.assert_allclose(np.abs(a @ np.linalg.svd(rows - rows.mean(0))[2][0]), [1.0], atol=1e-4)
    tilted = torch.zeros(1, 7, 24)
    tilted[..., 0] = torch.arange(7.0)
    method = run({"r": 1, "rho": 2.0}, tilted + 1e-3 * x[:1])
    assert sorted(method.notes()["ranks"].values()) in ([0, 2], [1, 1])
    assert torch.equal(component.model(x), plain().model(x))


def test_o_lora_keeps_out_of_what_came_before(tmp_path: Path) -> None:
    from holdfast.runs.artifacts import save_artifacts

    pasts = []
    for place, kind in enumerate(("o_lora", "lora")):
        component, method = plain(), make_method(kind, {"r": 2})
        method.attach(component, Context(torch.Generator().manual_seed(place)))
        artifact = method.detach()
        pasts.append(
            {n.split(".")[0].split(":")[0]: t for n, t in artifact.tensors.items() if "A" in n.split(".", 1)[-1]}
        )
        run = tmp_path / f"run{place}"
        save_artifacts(run / "artifact", [artifact], model="m", identity="i", ledger={})
    options = {"r": 3, "alpha": 6, "past": [str(tmp_path / "run0"), str(tmp_path / "run1")], "shrink": 0.2}
    component, method = attached("o_lora", options)
    trained, own = copied(method)
    weights = {name: component.parameters[f"{name}.weight"].clone() for name in own}
    x, y = data()
    ours = torch.optim.AdamW(method.parameter_groups(LR, DECAY))
    theirs = torch.optim.AdamW([{"params": list(trained.values()), "lr": LR, "weight_decay": DECAY}])
    for step in range(STEPS):
        penalty = method.penalty(step)
        assert penalty is not None
        ours.zero_grad()
        ((component.model(x) - y).square().mean() + penalty).backward()
        ours.step()
        total = torch.zeros(())
        for layer, factors in own.items():
            for past in pasts:
                for row in past[layer]:
                    total = total + 0.5 * sum((row * new).sum().abs() for new in factors["A"])
            total = total + 0.2 * (factors["A"].square().sum().sqrt() + factors["B"].norm())
        theirs.zero_grad()
        ((reached_by(LORA, x, weights, own) - y).square().mean() + total).backward()
        theirs.step()
        assert float(penalty) == pytest.approx(float(total), rel=1e-4)
    torch.testing.assert_close(component.model(x), reached_by(LORA, x, weights, own), rtol=1e-3, atol=1e-3)
    assert make_method("o_lora", {}).options.past == ()
    for past, words in (("nowhere", "no finished artifact"), (str(tmp_path / "run2"), "is not among the layers")):
        if words.startswith("is not"):
            wide = nn.Sequential(OrderedDict(first=nn.Linear(6, 6))).requires_grad_(False)
            other = Component("connector", wide, dict(wide.named_parameters()))
            small = make_method("o_lora", {"r": 2})
            small.attach(other, Context(torch.Generator()))
            save_artifacts(Path(past) / "artifact", [small.detach()], model="m", identity="i", ledger={})
        with pytest.raises(HoldfastError, match=words):
            attached("o_lora", {"past": [past]})

"""What PEFT does is what the papers say, as Holdfast calls it: dense weights under plain AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.absent import ABSENT, NOT_BUILT, OUR_OWN, PEFT_ABSENT
from holdfast.methods.contract import Context
from holdfast.methods.peft_bridge import PeftMethod
from holdfast.methods.registry import FUSIONS, METHODS, STABILISERS, make_method
from holdfast.methods.reparameterization.peft_low_rank import Lora

from .test_low_rank import DECAY, LR, data, plain, train


def attached(name: str, options: dict[str, Any]) -> tuple[torch.nn.Module, PeftMethod, dict[str, Tensor]]:
    component, method = plain(), make_method(name, options)
    assert isinstance(method, PeftMethod)
    method.attach(component, Context(torch.Generator().manual_seed(2), lr=LR))
    own = {n: t.detach().clone().requires_grad_() for n, t in method.named_trainable().items()}
    return component.model, method, own


def of(own: dict[str, Tensor], layer: str, part: str) -> Tensor:
    (found,) = [tensor for name, tensor in own.items() if layer in name and part in name]
    return found


def follow(model: torch.nn.Module, method: PeftMethod, own: dict[str, Tensor], change: Any, near: float = 1e-4) -> None:
    """Three steps of both, and the same losses. ``near``: AdamW takes a whole step where a gradient is all but zero."""
    weights = {name: value.clone() for name, value in plain().parameters.items()}

    def answer(x: Tensor) -> Tensor:
        for layer in ("first", "second"):
            weight = weights[f"{layer}.weight"]
            x = x @ (weight + change(weight, layer)).T
        return x

    groups = [
        {"params": [t for t in own.values() if (t.ndim >= 2) == big], "lr": LR, "weight_decay": DECAY * big}
        for big in (True, False)
    ]
    reference = train(answer, [group for group in groups if group["params"]])
    np.testing.assert_allclose(train(model, method.parameter_groups(LR, DECAY)), reference, rtol=1e-4)
    x, _ = data()
    torch.testing.assert_close(model(x), answer(x), rtol=1e-3, atol=near)
    for square, layer in zip(method.squares(), ("first", "second"), strict=False):
        moved = float(change(weights[f"{layer}.weight"], layer).square().sum())
        assert float(square) == pytest.approx(moved, rel=1e-2)
    assert len(method.squares()) == (2 if method.adds or isinstance(method, Lora) else 0)


@pytest.mark.parametrize("init", ["normal", "zero"])
def test_fourierft_is_an_inverse_transform_written_out(init: str) -> None:
    model, method, own = attached("fourierft", {"n": 7, "scale": 30.0, "init": init})
    x, _ = data()
    assert torch.equal(model(x), plain().model(x)) == (init == "zero")

    def change(weight: Tensor, layer: str) -> Tensor:
        rows, columns = weight.shape
        places = torch.randperm(rows * columns, generator=torch.Generator().manual_seed(777))[:7]
        u, v = torch.arange(rows), torch.arange(columns)
        total = torch.zeros(rows, columns)
        for value, place in zip(of(own, layer, "spectrum"), places.tolist(), strict=True):
            k, n = divmod(place, columns)
            total = total + value * torch.cos(2 * torch.pi * (k * u[:, None] / rows + n * v[None, :] / columns))
        return 30 * total / (rows * columns)

    follow(model, method, own, change)


def frozen(method: PeftMethod, layer: str, part: str) -> Tensor:
    """What is drawn or computed from the weights and stays; below it is checked by itself."""
    return of(method.constants, layer, part)


def granular(own: dict[str, Tensor], layer: str) -> Tensor:
    """Two by two blocks of rank 2; alpha 8 over rank 4."""
    a, b = of(own, layer, "gralora_A"), of(own, layer, "gralora_B")
    rows = [[b[k][n * 2 : n * 2 + 2].T @ a[n][:, k * 2 : k * 2 + 2].T for n in range(2)] for k in range(2)]
    return 2 * torch.cat([torch.cat(row, dim=1) for row in rows], dim=0)


def shard(weight: Tensor, block: Tensor) -> Tensor:
    return torch.stack([block[column % len(block)] for column in range(weight.shape[1])], dim=1)


def haar(weight: Tensor, values: Tensor, seed: int = 777) -> Tensor:
    """Each coefficient adds plus or minus one half on a square of four entries."""
    rows, columns = weight.shape
    places = torch.randperm(rows * columns, generator=torch.Generator().manual_seed(seed))[: len(values)]
    total = torch.zeros_like(weight)
    for value, place in zip(values, places.tolist(), strict=True):
        row, column = divmod(place, columns)
        down, right = row >= rows // 2, column >= columns // 2
        signs = torch.tensor([[1.0, -1.0 if down else 1.0], [-1.0 if right else 1.0, -1.0 if right != down else 1.0]])
        top, left = 2 * (row % (rows // 2)), 2 * (column % (columns // 2))
        total = total + nn.functional.pad(value * signs / 2, (left, columns - left - 2, top, rows - top - 2))
    return total


def turned(weight: Tensor, angle: Tensor, length: Tensor) -> Tensor:
    """Outputs ``i`` and ``i + 2`` of each group of four are a pair with one angle and one length."""
    rows = list(weight)
    for pair in range(len(angle)):
        group, place = divmod(pair, 2)
        first, second = group * 4 + place, group * 4 + place + 2
        x, y = weight[first], weight[second]
        rows[first] = length[pair] * (angle[pair].cos() * x - angle[pair].sin() * y)
        rows[second] = length[pair] * (angle[pair].sin() * x + angle[pair].cos() * y)
    return torch.stack(rows) - weight


def cayley(values: Tensor, size: int) -> Tensor:
    upper = torch.zeros(size, size)
    rows, columns = torch.triu_indices(size, size, 1)
    upper = upper.index_put((rows, columns), values)
    skew, one = upper - upper.T, torch.eye(size)
    return (one + skew) @ torch.linalg.inv(one - skew)


def picked(bank: Tensor, logits: Tensor) -> Tensor:
    """The two best vectors of the bank, mixed by their softmax."""
    best, places = logits.sort(dim=-1, descending=True)
    weights = best[..., :2].softmax(dim=-1)
    return sum(weights[..., k, None] * bank[places[..., k]] for k in range(2))  # type: ignore[return-value]


def entries(weight: Tensor, places: Tensor, values: Tensor) -> Tensor:
    return torch.zeros(weight.numel()).index_add(0, places, values).view_as(weight)


def random_places(weight: Tensor, count: int) -> Tensor:
    places = torch.randperm(weight.numel(), generator=torch.Generator().manual_seed(0))[:count]
    return places.sort().values


def based(weight: Tensor, own: dict[str, Tensor], layer: str, method: PeftMethod) -> Tensor:
    """Random bases between two scales, summed; alpha 6 over rank 3. The trained scales act on the shorter side."""
    tall, short = max(weight.shape), min(weight.shape)
    inner, outer = frozen(method, "first", "randlora_A")[:, 0, :short], frozen(method, "first", "randlora_B")[:tall]
    scales, lengths = of(own, layer, "lambda"), of(own, layer, "gamma")
    bases = outer[:, : len(lengths)].flatten(1).unflatten(1, (3, len(lengths)))  # random, in the library's order
    total = torch.zeros(tall, short)
    for n in range(len(lengths)):
        total = total + bases[:, :, n] @ torch.diag(scales[:, n]) @ inner @ torch.diag(lengths[n])
    return 2 * (total.T if weight.shape[0] < weight.shape[1] else total)


def clustered(weight: Tensor, own: dict[str, Tensor], layer: str, method: PeftMethod) -> Tensor:
    """Group by group of rows, in the coordinates of the weight's own right singular vectors."""
    rows, total = frozen(method, layer, "scatter_index"), torch.zeros_like(weight)
    for group in range(2):
        b = of(own, layer, f"adamss_B.holdfast_connector.{group}")
        own_rows, rows = rows[: len(b)], rows[len(b) :]
        product = b @ of(own, layer, f"adamss_A.holdfast_connector.{group}") @ frozen(method, layer, "newB")
        total = total.index_add(0, own_rows, product)
    return total


BY_THEMSELVES = {
    "lora",
    "dora",
    "rslora",
    "fourierft",
    "ia3",
    "oft",
    "boft",
    "hra",
    "loha",
    "lokr",
    "delora",
    "beft",
    "osf",
}
"""These have tests of their own, or are older than this table and stand in the tests of plain PEFT."""

Change = Callable[[Tensor, dict[str, Tensor], str, PeftMethod], Tensor]
CASES: dict[str, tuple[str, dict[str, Any], Change]] = {
    "hira": ("hira", {"r": 3}, lambda w, o, n, m: w * (of(o, n, "hira_B") @ of(o, n, "hira_A"))),
    "gralora": ("gralora", {"r": 4, "alpha": 8}, lambda w, o, n, m: granular(o, n)),
    "miss": ("miss", {"r": 4}, lambda w, o, n, m: shard(w, of(o, n, "miss_block"))),
    "miss, uneven": ("miss", {"r": 5}, lambda w, o, n, m: shard(w, of(o, n, "miss_block"))),
    "miss, mini": (
        "miss",
        {"r": 4, "form": "mini", "mini_r": 2},
        lambda w, o, n, m: shard(w, of(o, n, "miss_block").repeat(1, len(w) // 2)),
    ),
    "miss, bat": (
        "miss",
        {"r": 4, "form": "bat"},
        lambda w, o, n, m: torch.cat(
            [
                torch.cat([part @ b + b for part in rows.split(4, dim=1)], dim=1)
                for rows, b in zip(w.split(4), of(o, n, "miss_block"), strict=True)
            ]
        ),
    ),
    "deft": (
        "deft",
        {"r": 3, "alpha": 6},
        lambda w, o, n, m: (
            2 * of(o, n, "deft_P") @ of(o, n, "deft_R") - of(o, n, "deft_P") @ of(o, n, "deft_P").relu().T @ w
        ),
    ),
    "glora": (
        "glora",
        {"r": 3},
        lambda w, o, n, m: (
            w * (of(o, n, "glora_A.holdfast_connector.Xd") @ of(o, n, "glora_A.holdfast_connector.Xu"))
            + of(o, n, "glora_B.holdfast_connector.Xd") @ of(o, n, "glora_B.holdfast_connector.Xu")
        ),
    ),
    "peanut": (
        "peanut",
        {"r": 5, "scaling": 2.0},
        lambda w, o, n, m: 2 * of(o, n, "peanut_B") @ (of(o, n, "peanut_A") @ w).relu(),
    ),
    "waveft": ("waveft", {"n": 20, "scale": 3.0}, lambda w, o, n, m: 3 * haar(w, of(o, n, "spectrum"))),
    "waveft, plain": (
        "waveft",
        {"n": 20, "scale": 3.0, "inverse": False},
        lambda w, o, n, m: (
            3
            * entries(
                w, torch.randperm(w.numel(), generator=torch.Generator().manual_seed(777))[:20], of(o, n, "spectrum")
            )
        ),
    ),
    "road": (
        "road",
        {"group": 4},
        lambda w, o, n, m: turned(w, of(o, n, "road_theta"), of(o, n, "road_alpha")),
    ),
    "psoft": (
        "psoft",
        {"r": 3, "alpha": 6},
        lambda w, o, n, m: (
            2
            * frozen(m, n, "_psoft_B_cache")
            @ (
                of(o, n, "vector_b")[:, None]
                * cayley(of(o, n, "R.holdfast_connector.weight"), 3)
                * of(o, n, "vector_a")
                - torch.eye(3)
            )
            @ frozen(m, n, "_psoft_A_cache")
        ),
    ),
    "shira": (
        "shira",
        {"r": 2},
        lambda w, o, n, m: entries(w, random_places(w, 2 * sum(w.shape)), of(o, n, "shira_weight")),
    ),
    "supertuning": (
        "supertuning",
        {"sparsity": 0.75, "r": 3},
        lambda w, o, n, m: (
            entries(w, w.abs().flatten().argsort(descending=True)[: w.numel() // 4].sort().values, of(o, n, "values"))
            + 2 * of(o, n, "lora_B") @ of(o, n, "lora_A")
        ),
    ),
    "vblora": (
        "vblora",
        {"r": 2, "vectors": 5, "length": 4},
        lambda w, o, n, m: (
            picked(of(o, "first", "bank"), of(o, n, "logits_B")).transpose(1, 2).reshape(len(w), 2)
            @ picked(of(o, "first", "bank"), of(o, n, "logits_A")).reshape(2, -1)
        ),
    ),
    "unilora": (
        "unilora",
        {"r": 2, "length": 20},
        lambda w, o, n, m: (
            (of(o, "first", "theta")[frozen(m, n, "indices_B")] * frozen(m, n, "scales_B"))
            @ (of(o, "first", "theta")[frozen(m, n, "indices_A")] * frozen(m, n, "scales_A"))
        ),
    ),
    "tinylora": (
        "tinylora",
        {"r": 2, "values": 6},
        lambda w, o, n, m: (
            frozen(m, n, "tinylora_B")
            @ sum(
                v * p
                for v, p in zip(
                    of(o, "first", f"connector.{int(n == 'second')}"), frozen(m, n, "tinylora_P"), strict=True
                )
            )
            @ frozen(m, n, "tinylora_A")
        ),
    ),
    "frod": (
        "frod",
        {"sparse_rate": 0.2},
        lambda w, o, n, m: (
            frozen(m, n, "frod_U")
            @ (
                torch.diag(of(o, n, "lambda_l"))
                + torch.zeros(w.shape[1], w.shape[1]).index_put(tuple(frozen(m, n, "s_indices")), of(o, n, "s_values"))
            )
            @ frozen(m, n, "frod_V").T
            - w
        ),
    ),
    "pvera": (
        "pvera",
        {"r": 5},
        lambda w, o, n, m: (
            of(o, n, "lambda_b")[:, None]
            * frozen(m, "first", "pvera_B")[: len(w)]
            @ (of(o, n, "lambda_d")[:5, None] * frozen(m, "first", "pvera_A")[:5, : w.shape[1]])
        ),
    ),
    "randlora": ("randlora", {"r": 3, "alpha": 6}, lambda w, o, n, m: based(w, o, n, m)),
    "adamss": ("adamss", {"r": 6, "subspaces": 2}, lambda w, o, n, m: clustered(w, o, n, m)),
}


@pytest.mark.parametrize("case", CASES)
def test_training_follows_the_formula(case: str) -> None:
    name, options, change = CASES[case]
    model, method, own = attached(name, options)
    model.eval()  # PVeRA draws while it trains
    follow(
        model,
        method,
        own,
        lambda weight, layer: change(weight, own, layer, method),
        near=1e-2 if name == "deft" else 1e-4,
    )


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({"r": 3, "alpha": 6}, 2.0),
        ({"r": 4, "alpha": 6, "use_rslora": True}, 3.0),
        ({"r": 3, "init": "gaussian"}, 256 / 3),
    ],
    ids=["plain", "rslora", "gaussian"],
)
def test_lora_is_its_product(options: dict[str, Any], scale: float) -> None:
    model, method, own = attached("lora", {"dropout": 0.0, **options})
    follow(model, method, own, lambda w, layer: scale * of(own, layer, "lora_B") @ of(own, layer, "lora_A"))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("lora", {"r": 9}, "rank 9 is above the width 8 of layer 'second'"),
        ("lora", {"init": "pissa"}, "see holdfast methods"),
        ("lora", {"r": True}, "option 'r' is True: it should be a number"),
        ("lora", {"dropout": 2}, "option 'dropout' is 2"),
        ("lora", {"alpha": "x"}, "option 'alpha' is 'x'"),
        ("lora", {"modules_to_save": ["head"]}, "has no option 'modules_to_save'"),
        ("lora", {"bias": "all"}, "has no option 'bias'"),
        ("ia3", {"feedforward_modules": ["first"]}, "has no option 'feedforward_modules'"),
        ("oft", {"block": 5}, "block 5 does not divide the width 24 of layer 'first'. Choose a divisor such as 4"),
        ("boft", {"block": 3}, "block 3 does not divide the width 16 of layer 'second'"),
        ("boft", {"boft_n_butterfly_factor": 2}, "has no option 'boft_n_butterfly_factor'"),
        ("fourierft", {"n": 200}, "200 frequencies exceed the 128 values of layer 'second'"),
        ("gralora", {"r": 5}, "rank 5 is no multiple of the 2 blocks"),
        ("gralora", {"r": 3, "blocks": 3}, "blocks 3 does not divide the width 16 of layer 'first'"),
        ("miss", {"r": 5, "form": "bat"}, "r 5 does not divide the width 24"),
        ("miss", {"r": 4, "mini_r": 2}, "form balance and mini_r 2 do not go together in the shard of layer"),
        ("miss", {"r": 4, "form": "mini", "mini_r": 3}, "mini_r 3 does not divide the 16 outputs"),
        ("glora", {"r": 2, "bias": "vector"}, "option bias finds no bias to change in the weights of layer 'first'"),
        ("osf", {"r": 8}, "8 directions that stay leave nothing of the width 8 of layer 'second'"),
        ("vblora", {"length": 5}, "length 5 does not divide the width 24"),
        ("vblora", {"length": 8, "vectors": 2, "topk": 3}, "topk 3 exceeds the 2 vectors that the bank has"),
        ("road", {"group": 6}, "group 6 does not divide the 16 outputs of layer 'first'"),
        ("road", {"group": 5}, "option 'group' is 5"),
        ("shira", {}, "1280 entries exceed the 384 values of layer 'first'"),
        ("supertuning", {"alpha": 2.0}, "alpha belongs to a LoRA that r does not ask for"),
        ("supertuning", {"sparsity": 1.0}, "option 'sparsity' is 1.0"),
        ("waveft", {"n": 200}, "200 coefficients exceed the 128 values"),
        ("psoft", {"r": 9}, "rank 9 is above the width 8"),
        ("peanut", {"depth": 1}, "option 'depth' is 1"),
        ("deft", {"init_scale": 2.0}, "has no option 'init_scale'"),
        ("adamss", {"use_asa": True}, "has no option 'use_asa'"),
        ("hra", {"r": 20}, "rank 20 is above the width 16"),
    ],
)
def test_an_option_acts_or_is_refused_before_step_1(name: str, options: dict[str, Any], words: str) -> None:
    component = plain()
    with pytest.raises(HoldfastError, match=words):
        make_method(name, options).attach(component, Context(torch.Generator()))
    assert len(list(component.model.modules())) == 3


@pytest.mark.parametrize("name", sorted(n for n, kind in METHODS.all().items() if issubclass(kind, PeftMethod)))
def test_every_method_of_the_bridge_is_held_against_a_formula(name: str) -> None:
    assert name in {case[0] for case in CASES.values()} | BY_THEMSELVES


def test_what_stays_is_what_the_papers_say() -> None:
    weight = plain().parameters["first.weight"]
    left, values, right = np.linalg.svd(weight.numpy())
    principal = (left[:, :3] * values[:3]) @ right[:3]
    _, psoft, _ = attached("psoft", {"r": 3, "alpha": 6})
    np.testing.assert_allclose(
        2 * frozen(psoft, "first", "B_cache") @ frozen(psoft, "first", "A_cache"), principal, atol=1e-5
    )
    _, tiny, _ = attached("tinylora", {"r": 3})
    np.testing.assert_allclose(
        frozen(tiny, "first", "tinylora_B") @ frozen(tiny, "first", "tinylora_A"), principal, atol=1e-5
    )
    _, adamss, _ = attached("adamss", {"r": 6})
    basis = frozen(adamss, "first", "newB").numpy()
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-5)
    assert np.square(weight.numpy() @ basis.T).sum() > 0.8 * np.square(values[:6]).sum()  # found by random projection
    assert sorted(frozen(adamss, "first", "scatter_index").tolist()) == list(range(16))
    _, frod, own = attached("frod", {})
    whole = (
        frozen(frod, "first", "frod_U") @ torch.diag(of(own, "first", "lambda_l")) @ frozen(frod, "first", "frod_V").T
    )
    torch.testing.assert_close(whole, weight, rtol=1e-4, atol=1e-5)
    _, unilora, _ = attached("unilora", {"r": 2, "length": 20})
    kinds = [(layer, side) for layer in ("first", "second") for side in "AB"]
    used = torch.bincount(torch.cat([frozen(unilora, n, f"indices_{s}").flatten() for n, s in kinds]), minlength=20)
    for layer, side in kinds:  # every value is as long as it is used often
        torch.testing.assert_close(
            frozen(unilora, layer, f"scales_{side}"), used[frozen(unilora, layer, f"indices_{side}")].float() ** -0.5
        )


def test_pvera_draws_around_its_mean_while_it_trains() -> None:
    model, method, _ = attached("pvera", {"r": 5})
    b = [tensor for name, tensor in method.named_trainable().items() if "lambda_b" in name]
    with torch.no_grad():
        for tensor in b:
            tensor.fill_(1.0)
    x = torch.randn(1, 24, generator=torch.Generator().manual_seed(0))
    layer, inner, outer = model.first, frozen(method, "first", "pvera_A"), frozen(method, "first", "pvera_B")
    half = 0.1 * x @ inner.T
    mean, spread = half[:, :5], (0.5 * half[:, 5:]).exp()
    torch.manual_seed(0)
    drawn = torch.cat([layer(x) for _ in range(4000)]).detach()
    plainly = x @ plain().parameters["first.weight"].T
    torch.testing.assert_close(drawn.mean(0, keepdim=True), plainly + mean @ outer.T, rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.var(0), (spread**2 @ (outer**2).T)[0], rtol=0.1, atol=0)
    model.eval()
    torch.testing.assert_close(layer(x), plainly + mean @ outer.T)


def test_beft_adds_a_bias() -> None:
    model, method, own = attached("beft", {"modules": ["first", "second"]})
    weights = {name: value.clone() for name, value in plain().parameters.items()}

    def answer(x: Tensor) -> Tensor:
        for layer in ("first", "second"):
            x = x @ weights[f"{layer}.weight"].T + of(own, layer, "bias")
        return x

    groups = [{"params": list(own.values()), "lr": LR, "weight_decay": DECAY}]
    np.testing.assert_allclose(train(model, method.parameter_groups(LR, DECAY)), train(answer, groups), rtol=1e-5)


def test_osf_moves_away_from_the_largest_directions() -> None:
    model, method, own = attached("osf", {"r": 3})
    weights = {name: value.clone() for name, value in plain().parameters.items()}
    kept = {name: np.linalg.svd(weight.numpy(), full_matrices=False) for name, weight in weights.items()}
    names = {"first": "first.weight", "second": "second.weight"}

    def answer(x: Tensor) -> Tensor:
        for layer, name in names.items():
            left, values, right = (torch.from_numpy(part) for part in kept[name])
            large = (left[:, :3] * values[:3]) @ right[:3]
            x = x @ (large + (of(own, layer, "U_low") * of(own, layer, "S_low")) @ of(own, layer, "V_low")).T
        return x

    for layer, name in names.items():
        left, _, right = (torch.from_numpy(part) for part in kept[name])
        of(own, layer, "U_low").register_hook(lambda g, u=left[:, :3]: g - u @ (u.T @ g))
        of(own, layer, "V_low").register_hook(lambda g, v=right[:3]: g - (g @ v.T) @ v)
    groups = [
        {"params": [t for t in own.values() if (t.ndim >= 2) == big], "lr": LR, "weight_decay": DECAY * big}
        for big in (True, False)
    ]
    np.testing.assert_allclose(train(model, method.parameter_groups(LR, DECAY)), train(answer, groups), rtol=1e-3)


def test_factors_beside_half_precision_weights_are_float32() -> None:
    component, method = plain(), make_method("lora", {"r": 3})
    component.model.to(torch.bfloat16)
    method.attach(component, Context(torch.Generator().manual_seed(2)))
    assert {tensor.dtype for tensor in method.named_trainable().values()} == {torch.float32}
    artifact = method.detach()
    again = make_method("lora", {"r": 3})
    again.restore(component, artifact)
    again.merge()
    assert {tensor.dtype for tensor in component.model.parameters()} == {torch.bfloat16}


def test_nothing_is_absent_twice_or_present_too() -> None:
    names = [entry.name for entry in (*ABSENT, *NOT_BUILT)]
    assert len(set(names)) == len(names)

    def bare(name: str) -> str:
        return name.lower().replace("-", "").replace("_", "").replace(".", "")

    present = {bare(name) for registry in (METHODS, STABILISERS, FUSIONS) for name in registry.names()}
    assert present & {bare(name) for name in names} == set()


def test_every_type_of_peft_is_a_method_or_is_absent_with_a_reason() -> None:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    types = {str(kind.value): config.__name__ for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    bridged = {kind.config_type for kind in METHODS.all().values() if issubclass(kind, PeftMethod)}
    here = {name for name, config in types.items() if config in bridged} | OUR_OWN.keys()
    absent = {entry.name: entry.reason for entry in PEFT_ABSENT}
    assert here | absent.keys() == types.keys() and not here & absent.keys()
    assert all(name in METHODS for name in OUR_OWN.values()) and all(map(str.strip, absent.values()))

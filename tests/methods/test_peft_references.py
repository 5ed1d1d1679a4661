"""What PEFT does is what the papers say, as Holdfast calls it: dense weights under plain AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.peft_bridge import PeftMethod
from holdfast.methods.registry import make_method

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


def follow(model: torch.nn.Module, method: PeftMethod, own: dict[str, Tensor], change: Any) -> None:
    """Three steps of both, and the same losses."""
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
    torch.testing.assert_close(model(x), answer(x), rtol=1e-3, atol=1e-4)


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


def test_hira_is_the_weight_times_a_product() -> None:
    model, method, own = attached("hira", {"r": 3})
    follow(model, method, own, lambda w, layer: w * (of(own, layer, "hira_B") @ of(own, layer, "hira_A")))


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
        ("hra", {"r": 20}, "rank 20 is above the width 16"),
    ],
)
def test_an_option_acts_or_is_refused_before_step_1(name: str, options: dict[str, Any], words: str) -> None:
    component = plain()
    with pytest.raises(HoldfastError, match=words):
        make_method(name, options).attach(component, Context(torch.Generator()))
    assert len(list(component.model.modules())) == 3

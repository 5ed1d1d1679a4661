"""Flora against the release's rule written out in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.methods.reparameterization.flora import Flora

from .test_low_rank import DECAY, LR, data, plain

Floats = npt.NDArray[np.float64]


def projection(seed: int, rank: int, short: int) -> Floats:
    drawn = torch.randn(rank, short, generator=torch.Generator().manual_seed(seed))
    return np.asarray(drawn.double()) / np.sqrt(rank)


def rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def test_seven_steps_are_the_written_rule() -> None:
    component, method = plain(), make_method("flora", {"r": 4, "kappa": 3})
    assert isinstance(method, Flora)
    method.attach(component, Context(torch.Generator().manual_seed(2), lr=LR))
    optimizer = torch.optim.AdamW(method.parameter_groups(LR, DECAY))
    method.bind(optimizer)
    model, (x, y) = component.model, data()
    values = {name: p.detach().double().numpy().copy() for name, p in component.parameters.items()}
    kept: dict[str, Any] = {}
    for step in range(1, 8):
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        gradients = {name: p.grad.double().numpy() for name, p in component.parameters.items() if p.grad is not None}
        method.before_step(step - 1)
        optimizer.step()
        method.after_step(step - 1)
        assert not optimizer.state, "the run's optimizer keeps nothing"
        keep = 1 - step**-0.8
        for place, (name, weight) in enumerate(values.items()):
            g, (tall, wide) = gradients[name], weight.shape
            rows, columns, momentum, seed = kept.get(
                name,
                (
                    np.zeros(tall),
                    np.zeros(wide),
                    np.zeros((tall, 4)) if tall >= wide else np.zeros((4, wide)),
                    method.first + place,
                ),
            )
            rows = keep * rows + (1 - keep) * (g**2 + 1e-30).mean(1)
            columns = keep * columns + (1 - keep) * (g**2 + 1e-30).mean(0)
            raw = g / np.sqrt(np.outer(rows, columns) / rows.mean())
            p = projection(seed, 4, min(tall, wide))
            back = momentum @ p if tall >= wide else p.T @ momentum
            update = 0.1 * raw + 0.9 * back
            if step % 3 == 0:
                seed += 7919
                p = projection(seed, 4, min(tall, wide))
                momentum = back @ p.T if tall >= wide else p @ back
            momentum = 0.9 * momentum + 0.1 * (raw @ p.T if tall >= wide else p @ raw)
            kept[name] = rows, columns, momentum, seed
            rate = LR * max(1e-3, rms(weight))
            values[name] = weight - DECAY * rate * weight - rate * update / max(1.0, rms(update))
            np.testing.assert_allclose(
                component.parameters[name].detach().double().numpy(), values[name], rtol=1e-3, atol=1e-5
            )
    assert sum(tensor.numel() for name, tensor in method.state().items() if "momentum" in name) == 4 * (24 + 16)


def test_small_and_long_matrices_keep_their_momentum_in_full_and_a_checkpoint_goes_on() -> None:
    x, y = data()

    def steps(method: Flora, model: torch.nn.Module, first: int, last: int) -> None:
        optimizer = torch.optim.AdamW(method.parameter_groups(LR, DECAY))
        method.bind(optimizer)
        for step in range(first, last):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            method.before_step(step)
            optimizer.step()
            method.after_step(step)

    def made() -> tuple[Flora, torch.nn.Module]:
        component, method = plain(), make_method("flora", {"r": 12, "kappa": 2})
        assert isinstance(method, Flora)
        method.attach(component, Context(torch.Generator().manual_seed(2), lr=LR))
        return method, component.model

    whole, model = made()
    steps(whole, model, 0, 6)
    shapes = {name: tuple(t.shape) for name, t in whole.state().items() if "momentum" in name}
    assert shapes == {"first.weight/momentum": (12, 24), "second.weight/momentum": (8, 16)}
    half, begun = made()
    steps(half, begun, 0, 3)
    again, resumed = made()
    again.load({n: t.detach().clone() for n, t in half.named_trainable().items()}, half.state())
    steps(again, resumed, 3, 6)
    assert torch.equal(resumed(x), model(x))
    with whole.suspended():
        assert torch.equal(model(x), plain().model(x))

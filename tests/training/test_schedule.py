"""Learning rates are the library's, bit for bit, and a run's first step moves something."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import get_scheduler

from holdfast.config.schema import Train
from holdfast.training.schedule import schedule

NAMES = {"cosine": "cosine_with_min_lr", "linear": "linear", "constant": "constant_with_warmup"}


@pytest.mark.parametrize("steps", [0, 1, 7, 150])
@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.3, 1.0])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("final", [0.0, 0.1])
def test_the_curves_are_those_of_the_library(name: Any, warmup: float, steps: int, final: float) -> None:
    factor = schedule(Train(schedule=name, warmup=warmup, final_lr=final), steps)
    count = round(warmup * steps)
    made: Any = get_scheduler(
        NAMES[name],
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0),
        num_warmup_steps=count,
        num_training_steps=max(steps, 1),
        scheduler_specific_kwargs={"min_lr_rate": final} if name == "cosine" else {},
    )
    ahead = 1 if count else 0
    assert [factor(step) for step in range(steps)] == [made.lr_lambdas[0](step + ahead) for step in range(steps)]
    if 0 < count < steps:
        assert factor(0) > 0

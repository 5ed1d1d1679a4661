"""The learning rate of a step, as a share of its peak: a pure function, so that resuming needs no state."""

from __future__ import annotations

import math
from collections.abc import Callable

from holdfast.config.schema import Train


def schedule(train: Train, steps: int) -> Callable[[int], float]:
    """The share of the peak rate at each step, counted from 0.

    The curves are those of ``transformers.get_scheduler``: ``cosine_with_min_lr``, ``linear`` and
    ``constant_with_warmup``. The first step of a warm-up moves something here, so all of a run with one comes a step
    earlier than there.

    Args:
        train: Which curve, the share of the steps that warm up, and the share of the peak at the end of a cosine.
        steps: Of the whole run.
    """
    warmup = round(train.warmup * steps)
    ahead = 1 if warmup else 0

    def factor(step: int) -> float:
        step += ahead
        if step < warmup:
            return step / warmup
        if train.schedule == "constant":
            return 1.0
        if train.schedule == "linear":
            return max(0.0, (max(steps, 1) - step) / max(1, max(steps, 1) - warmup))
        progress = (step - warmup) / max(1, max(steps, 1) - warmup)
        share = 0.5 * (1.0 + math.cos(math.pi * progress))
        return max(0.0, share * (1 - train.final_lr) + train.final_lr)

    return factor

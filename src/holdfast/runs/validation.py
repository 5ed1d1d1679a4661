"""A model on validation parts: what a study may choose by, for it has seen no test item."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from holdfast.config.schema import RunConfig
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.models.batch import Batch
from holdfast.models.loading import Loaded
from holdfast.runs.lengths import within_length
from holdfast.runs.reading import Tasks
from holdfast.training.loss import answer_loss
from holdfast.values import JSON


def measure(loaded: Loaded, tasks: Tasks, config: RunConfig) -> JSON:
    """Teacher forcing on the validation parts of target and sources.

    Returns:
        ``loss``: mean over the answer tokens of the target; ``exact``: share of its items whose tokens are all the
        likeliest, in percent; ``sources``: the same share by source that has a validation part; ``n``: items of the
        target.

    Raises:
        HoldfastError: The target has no validation part.
    """
    assert tasks.target is not None
    limit, most = config.train.validation_limit, config.train.max_length
    examples, _ = within_length(tasks.target.validation[:limit], loaded, most, skip=config.skip_bad)
    if not examples:
        raise HoldfastError(
            "the target has no validation examples, and a study chooses by them",
            remedy="set target.validation to a share or a file",
            key="validation",
        )
    loss, exact = _teacher_forced(loaded, examples, config)
    sources = {}
    for task in tasks.sources:
        own, _ = within_length(task.validation[:limit], loaded, most, skip=True)
        if own:
            sources[task.name] = _teacher_forced(loaded, own, config)[1]
    return {"loss": loss, "exact": exact, "sources": sources, "n": len(examples)}


@torch.no_grad()
def _teacher_forced(loaded: Loaded, examples: Sequence[Example], config: RunConfig) -> tuple[float, float]:
    loaded.model.eval()
    total, tokens, exact = 0.0, 0, 0
    size = config.evaluate.batch_size
    for begin in range(0, len(examples), size):
        encoded = loaded.chat.encode(
            examples[begin : begin + size], with_answers=True, max_length=config.train.max_length
        )
        result = answer_loss(loaded.model, Batch.of(encoded).to(loaded.device))
        total, tokens = total + float(result.total), tokens + result.tokens
        exact += int(result.exact.sum())
    return total / max(tokens, 1), 100 * exact / len(examples)

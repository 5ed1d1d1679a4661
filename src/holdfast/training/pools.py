"""The examples that methods and stabilisers may look at before step 1, as batches with their loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.config.schema import Train
from holdfast.data.examples import Example
from holdfast.methods.contract import Pool
from holdfast.models.batch import Batch
from holdfast.models.loading import Loaded
from holdfast.training.batches import Stream
from holdfast.training.loss import Head, mean_loss


@dataclass(frozen=True)
class Pools:
    """Called as :class:`holdfast.methods.contract.Context` says; the same call gives the same batches.

    Training batches are those of the run's own first steps, endlessly; everything else ends after one pass.
    """

    loaded: Loaded
    train: Train
    seed: int
    target: Sequence[Example]
    validation: Sequence[Example] = ()
    sources: Sequence[Example] = ()
    head: Head = "auto"

    def __call__(self, count: int, *, of: Pool = "train", size: int | None = None) -> Iterator[Batch]:
        examples = {"train": self.target, "validation": self.validation, "sources": self.sources}[of]
        width = size or self.train.batch_size
        if not examples:
            return
        if of != "train" or size is not None:
            count = min(count, math.ceil(len(examples) / width))
        if of == "validation":
            chosen: Iterator[Sequence[Example]] = (examples[i * width : (i + 1) * width] for i in range(count))
        else:
            stream = Stream(examples, width, 1, self.seed if of == "train" else self.seed + 1, self.train.order)
            chosen = (next(stream.step(step)) for step in range(count))
        for part in chosen:
            batch = self.loaded.chat.encode(part, with_answers=True, max_length=self.train.max_length)
            yield Batch.of(batch).to(self.loaded.device)

    def loss(self, batch: Batch) -> Tensor:
        """The mean answer loss; under autocast where weights of several precisions meet."""
        half = self.train.precision == "bf16" or any(
            parameter.dtype in (torch.float16, torch.bfloat16) for parameter in self.loaded.model.parameters()
        )
        with torch.autocast(self.loaded.device.type, torch.bfloat16, enabled=half):
            return mean_loss(self.loaded.model, batch, head=self.head)

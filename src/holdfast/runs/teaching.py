"""A finished run as a teacher: it answers the batches of another run's training."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from holdfast.files.places import path_of
from holdfast.methods.contract import Batch, Teacher
from holdfast.methods.recipe import restore
from holdfast.runs.opening import open_run
from holdfast.training.loss import Head, answer_logits


def open_teacher(run: str, *, head: Head = "auto") -> Teacher:
    """Load a run, with what training changed on its base.

    Args:
        run: Its folder.
        head: How the output head is applied.

    Raises:
        HoldfastError: It is no finished run, or its base is gone.
    """
    opened = open_run(Path(path_of(run)))
    restore(opened.base, opened.artifacts)
    model = opened.base.model.eval()

    @torch.no_grad()
    def says(batch: Batch) -> Tensor:
        return answer_logits(model, batch, head=head)[0]

    return Teacher(model, opened.base.chat.tokenizer, says)

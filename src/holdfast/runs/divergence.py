"""How far the tuned model went from its base on the new task: divergences of the next token at every answer token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.config.schema import RunConfig
from holdfast.data.examples import Example
from holdfast.models.batch import Batch
from holdfast.models.loading import Loaded
from holdfast.runs.lengths import within_length
from holdfast.tasks.task import Task
from holdfast.training.loss import answer_logits
from holdfast.values import JSON

FILE = "divergence.json"

NAMES = ("kl_to_base", "kl_reverse", "kl_without_target")

MOST = 1 << 29
"""Logits of the base that are kept until the tuned model is there (2 GiB); with large vocabularies, fewer items."""


@dataclass(frozen=True)
class BaseLogits:
    """What the untouched base says at the answers of the target's test part.

    Attributes:
        examples: Those that are looked at, a batch each; the references are their answers.
        logits: ``[tokens, vocabulary]`` of each batch, float32 on the CPU.
        config: How they are encoded.
    """

    examples: tuple[tuple[Example, ...], ...]
    logits: tuple[Tensor, ...]
    config: RunConfig

    def against(self, tuned: Loaded) -> JSON:
        """The same batches through the tuned model.

        Returns:
            Means over the answer tokens, in nats: ``kl_to_base``, ``kl_reverse`` and ``kl_without_target`` as
            :func:`divergences` has them; ``tokens`` and ``n``, the items that they come from.
        """
        sums = torch.zeros(3, dtype=torch.float64)
        tokens = 0
        for examples, base in zip(self.examples, self.logits, strict=True):
            logits, targets = _at_answers(tuned, examples, self.config)
            sums += divergences(base, logits, targets)
            tokens += len(targets)
        means = {name: value / max(tokens, 1) for name, value in zip(NAMES, sums.tolist(), strict=True)}
        return {**means, "tokens": tokens, "n": sum(map(len, self.examples))}


def base_logits(base: Loaded, target: Task, config: RunConfig, *, most: int = MOST) -> BaseLogits:
    """Ask the untouched base, each answer token behind the right ones (teacher forcing).

    Args:
        base: Before anything is restored on it.
        target: The first items of its test part, as many as ``most`` logits allow, one batch at least. Test items serve
            because nothing is chosen by these figures.
        config: Of the run.
        most: Logits to keep.
    """
    examples, _ = within_length(tuple(target.test), base, config.train.max_length, skip=True)
    batches: list[tuple[Example, ...]] = []
    kept: list[Tensor] = []
    size = config.evaluate.batch_size
    for begin in range(0, len(examples), size):
        batch = examples[begin : begin + size]
        logits, _ = _at_answers(base, batch, config)
        if kept and sum(map(Tensor.numel, kept)) + logits.numel() > most:
            break
        batches.append(batch)
        kept.append(logits)
    return BaseLogits(tuple(batches), tuple(kept), config)


def divergences(base: Tensor, tuned: Tensor, targets: Tensor) -> Tensor:
    """Kullback-Leibler divergences of next tokens, summed over answer tokens, in nats.

    The first is KL(base || tuned), which arXiv 2509.04259 holds to predict forgetting, the second KL(tuned || base).
    The third is the first over the vocabulary without the right token, both renormalised (arXiv 2605.29498): what
    learning the answer has to move is not in it.

    Args:
        base, tuned: Logits ``[tokens, vocabulary]``.
        targets: The right tokens, ``[tokens]``.

    Returns:
        ``[3]``, float64.
    """
    then, now = (logits.float().log_softmax(dim=-1) for logits in (base, tuned))
    others = torch.ones_like(then, dtype=torch.bool).scatter_(1, targets[:, None], False)
    rest, left = (logits.float()[others].view(len(targets), -1).log_softmax(dim=-1) for logits in (base, tuned))
    return torch.stack([_divergence(then, now), _divergence(now, then), _divergence(rest, left)])


def _divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(first || second) of log-probabilities; a token that the first never says adds nothing."""
    weight = first.exp()
    return torch.where(weight > 0, weight * (first - second), 0.0).sum(dtype=torch.float64)


@torch.no_grad()
def _at_answers(loaded: Loaded, examples: Sequence[Example], config: RunConfig) -> tuple[Tensor, Tensor]:
    """Logits and right tokens, on the CPU."""
    loaded.model.eval()
    encoded = loaded.chat.encode(examples, with_answers=True, max_length=config.train.max_length)
    logits, targets = answer_logits(loaded.model, Batch.of(encoded).to(loaded.device))
    return logits.float().cpu(), targets.cpu()

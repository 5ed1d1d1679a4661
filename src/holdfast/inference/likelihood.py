"""Options of a question by their likelihood: the sum of the log-probabilities of an option's tokens as the answer.

Each option is a branch of its image's row, so that one forward pass compares all options of all questions about an
image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from holdfast.data.examples import Example, Turn
from holdfast.models.batch import Batch
from holdfast.models.chat import IGNORED
from holdfast.speed.head import logits_at
from holdfast.speed.sharing.batcher import Batcher

CHUNK = 1 << 24
"""Logits made float32 at once."""

DIGITS = 4
"""Decimals of a score: the last bits of a sum depend on what else is in the batch, and are to decide nothing."""


def candidates(example: Example, options: Sequence[str]) -> list[Example]:
    """The example once an option, with the option as its answer."""
    last = example.turns[-1]
    return [replace(example, turns=(*example.turns[:-1], Turn(last.question, (option,)))) for option in options]


def option_batches(batcher: Batcher, asked: Sequence[tuple[Example, Sequence[str]]], *, rows: int) -> Iterator[Batch]:
    """The examples once an option, on the CPU; another process may make them.

    Args:
        batcher: Of the model, with answers.
        asked: Examples and their options.
        rows: Rows of one forward pass where options do not share their image.

    Raises:
        HoldfastError: An example cannot be encoded.
    """
    flat = [candidate for example, options in asked for candidate in candidates(example, options)]
    packed = batcher.pack(flat)
    if packed is not None:
        yield packed
        return
    for begin in range(0, len(flat), rows):
        yield batcher.prepare(flat[begin : begin + rows])


def option_scores(
    batcher: Batcher,
    asked: Sequence[tuple[Example, Sequence[str]]],
    *,
    rows: int,
    prepared: Sequence[Batch] | None = None,
) -> list[dict[str, float]]:
    """The log-probability of every option, its end mark included.

    Args:
        batcher: Of the model, with answers.
        asked: Examples and their options.
        rows: Rows of one forward pass where options do not share their image.
        prepared: What :func:`option_batches` gives of them; default: made here, one after the other.

    Returns:
        For each example, option -> natural logarithm of its probability, in the order of the options.

    Raises:
        HoldfastError: An example cannot be encoded.
    """
    made = option_batches(batcher, asked, rows=rows) if prepared is None else prepared
    scores = iter([value for batch in made for value in log_probabilities(batcher, batch)])
    return [{option: round(next(scores), DIGITS) for option in options} for _, options in asked]


def likeliest(scores: dict[str, float]) -> str:
    """The option with the highest score; of equals the first."""
    return max(scores, key=scores.__getitem__)


def log_probabilities(batcher: Batcher, batch: Batch) -> list[float]:
    """The log-probability of the last answer of each example in ``batch``, which is on the CPU."""
    assert batch.labels is not None, "options are answers"
    labels, owner = batch.labels, batch.owners
    following = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    places = following != IGNORED
    count = int(owner.max()) + 1
    places &= last_runs(places, owner)
    model, targets = batcher.loaded.model, following[places]
    logits = logits_at(model, batcher.place(batch).inputs(model), places)
    sums = torch.zeros(count, dtype=torch.float64)
    sums.index_add_(0, owner[places], _log_softmax_at(logits, targets.to(logits.device)).double().cpu())
    found: list[float] = sums.tolist()
    return found


def last_runs(places: Tensor, owner: Tensor) -> Tensor:
    """Of each owner's places ``[rows, length]``, those without a gap up to the last: answers of earlier turns are
    labelled too, and are no part of an option.
    """
    kept = torch.zeros_like(places)
    for row, column in torch.nonzero(places & ~_continued(places, owner)).tolist():
        start = column
        while start > 0 and places[row, start - 1] and owner[row, start - 1] == owner[row, column]:
            start -= 1
        later = places[row, column + 1 :] & (owner[row, column + 1 :] == owner[row, column])
        if not bool(later.any()):
            kept[row, start : column + 1] = True
    return kept


def _continued(places: Tensor, owner: Tensor) -> Tensor:
    """Places whose owner goes on at the next one."""
    going = torch.zeros_like(places)
    going[:, :-1] = places[:, :-1] & places[:, 1:] & (owner[:, :-1] == owner[:, 1:])
    return going


def _log_softmax_at(logits: Tensor, targets: Tensor) -> Tensor:
    """``[n]`` from logits ``[n, vocabulary]``, a part at a time, because float32 doubles the largest tensor here."""
    size = max(1, CHUNK // logits.shape[-1])
    parts = []
    for part, wanted in zip(logits.split(size), targets.split(size), strict=True):
        scores = part.float()
        parts.append(scores.gather(1, wanted[:, None])[:, 0] - scores.logsumexp(dim=-1))
    return torch.cat(parts)

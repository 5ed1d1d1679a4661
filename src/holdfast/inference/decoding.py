"""Greedy decoding of rows in which several questions share an image.

The image stands in the key-value cache once; each step feeds one token of every question that is not answered yet, and
a row whose questions are all answered leaves the batch. The answers are those of the library's ``generate``, one
question at a time.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.data.examples import Example
from holdfast.models.batch import Batch
from holdfast.speed.head import logits_at
from holdfast.speed.sharing.batcher import Batcher
from holdfast.speed.sharing.packing import PADDING


def cache_argument(model: nn.Module) -> str | None:
    """What ``forward`` calls its key-value cache; None where it takes none."""
    takes = inspect.signature(model.forward).parameters
    return next((name for name in ("cache", "past_key_values") if name in takes), None)


@dataclass(frozen=True)
class Opening:
    """Questions before they are fed, on the CPU.

    Attributes:
        batch: Their rows.
        groups: Which questions make up each row, by their places.
        ends: Where each is asked, ``[rows, length]``.
        places: Position of the first token of each answer.
        ids: The tokens of each question, where a repetition penalty looks at them; else none.
    """

    batch: Batch
    groups: list[list[int]]
    ends: Tensor
    places: dict[int, int]
    ids: list[Tensor]


@dataclass
class Started:
    """Rows in the middle of being answered.

    Attributes:
        cache: Keys and values of everything fed so far.
        owner: Whose each of them is, ``[rows, keys]``.
        branches: Examples of each row that are not answered yet.
        places: Position of the next token, by example.
        three: Positions have three dimensions (M-RoPE), in which text counts alike.
    """

    cache: Any
    owner: Tensor
    branches: list[list[int]]
    places: dict[int, int]
    three: bool

    @property
    def order(self) -> list[int]:
        """Unanswered examples, row by row: the order of logits."""
        return [index for row in self.branches for index in row]


@dataclass
class Decoder:
    """Answers questions.

    Attributes:
        batcher: Of the model, without answers; it says whether questions share rows.
        ends: Tokens that end an answer.
        penalty: Repetition penalty; 1 is none.
        columns: Keys in the cache after each forward pass of the last batch, for tests.
    """

    batcher: Batcher
    ends: Collection[int]
    penalty: float = 1.0
    columns: list[int] = field(default_factory=list)

    def __call__(self, examples: Sequence[Example], limit: int, opening: Opening | None = None) -> list[list[int]]:
        """The tokens of each answer, with the end token if there is one.

        Args:
            examples: What is asked.
            limit: Longest answer.
            opening: What :meth:`prepare` made of them; default: made here.

        Raises:
            HoldfastError: An example cannot be encoded.
        """
        opening = self.prepare(examples) if opening is None else opening
        answers: list[list[int]] = [[] for _ in examples]
        state, logits = self.start(opening)
        history = self._history(opening.ids, limit) if opening.ids else None
        while True:
            order = state.order
            chosen = self._likeliest(logits, None if history is None else history[order])
            for index, token in zip(order, chosen, strict=True):
                if history is not None:
                    history[index, len(answers[index])] = token
                answers[index].append(token)
            self.retire(state, [i for i in order if answers[i][-1] in self.ends or len(answers[i]) == limit])
            if not state.branches:
                return answers
            logits = self.step(state, {index: answers[index][-1] for index in state.order})

    def prepare(self, examples: Sequence[Example]) -> Opening:
        """What is fed first; another process may make it, for it depends on the examples alone.

        Raises:
            HoldfastError: An example cannot be encoded.
        """
        batcher = self.batcher
        rows = batcher.rows(examples)
        groups = (
            batcher.groups(examples, rows)
            if batcher.layout == "shared"
            else [[index] for index in range(len(examples))]
        )
        batch = batcher.packed(examples, rows, groups)
        owner, positions = batch.owners, batch.text["position_ids"]
        ends = torch.zeros_like(owner, dtype=torch.bool)
        for row, group in enumerate(groups):
            for index in group:
                ends[row, int(torch.nonzero(owner[row] == index)[-1])] = True
        following = positions.amax(dim=0) if positions.ndim == 3 else positions
        places = dict(zip((i for group in groups for i in group), (following[ends] + 1).tolist(), strict=True))
        ids = [row.tokens["input_ids"] for row in rows] if self.penalty != 1.0 else []
        return Opening(batch, groups, ends, places, ids)

    def start(self, opening: Opening) -> tuple[Started, Tensor]:
        """Feed the questions; returns the state and the logits ``[examples, vocabulary]`` in its order."""
        from transformers import DynamicCache

        model, batch = self.batcher.loaded.model, self.batcher.place(opening.batch)
        branches, three = [list(group) for group in opening.groups], batch.text["position_ids"].ndim == 3
        # Without a configuration every layer keeps everything, also one that would forget what a window has passed.
        state = Started(DynamicCache(), batch.owners, branches, dict(opening.places), three)
        inputs = batch.inputs(model) | {str(cache_argument(model)): state.cache, "use_cache": True}
        logits = logits_at(model, inputs, opening.ends)
        self.columns = [state.cache.get_seq_length()]
        return state, logits

    def step(self, state: Started, tokens: dict[int, int]) -> Tensor:
        """Feed one token of every unanswered example; returns logits ``[unanswered, vocabulary]`` in their order."""
        model, device = self.batcher.loaded.model, self.batcher.loaded.device
        width = max(len(row) for row in state.branches)
        padding = [[-1] * (width - len(row)) for row in state.branches]
        filled = [row + more for row, more in zip(state.branches, padding, strict=True)]
        ids = torch.tensor(
            [[tokens.get(index, self.batcher.padding) for index in row] for row in filled], device=device
        )
        places = torch.tensor([[state.places.get(index, 0) for index in row] for row in filled], device=device)
        fed = torch.tensor([[index if index >= 0 else PADDING for index in row] for row in filled], device=device)
        state.owner = torch.cat([state.owner, fed], dim=1)
        for index in tokens:
            state.places[index] += 1
        inputs = {
            "input_ids": ids,
            "attention_mask": self.batcher.mask(fed, state.owner),
            "position_ids": places.expand(3, *places.shape) if state.three else places,
            str(cache_argument(model)): state.cache,
            "use_cache": True,
        }
        logits = logits_at(model, inputs, fed >= 0)
        self.columns.append(state.cache.get_seq_length())
        return logits

    def retire(self, state: Started, answered: Collection[int]) -> None:
        """Feed these no longer; rows without an unanswered question leave the batch and the cache."""
        if not answered:
            return
        left = [[index for index in row if index not in answered] for row in state.branches]
        kept = [row for row, branches in enumerate(left) if branches]
        state.branches = [left[row] for row in kept]
        if kept and len(kept) < len(left):
            rows = torch.tensor(kept, device=state.owner.device)
            state.owner = state.owner[rows]
            state.cache.batch_select_indices(rows)

    def _likeliest(self, logits: Tensor, history: Tensor | None) -> list[int]:
        scores = logits.float()
        if history is not None:
            from transformers import RepetitionPenaltyLogitsProcessor

            scores = RepetitionPenaltyLogitsProcessor(self.penalty)(history, scores)
        chosen: list[int] = scores.argmax(dim=-1).tolist()
        return chosen

    def _history(self, ids: Sequence[Tensor], limit: int) -> Tensor:
        """Each example's own tokens ``[examples, limit + longest]``, room for the answer first.

        What is not filled repeats the example's first token: the penalty asks whether a token has occurred, not how
        often or where.
        """
        width = limit + max(one.shape[0] for one in ids)
        rows = [torch.cat([one[:1].expand(width - one.shape[0]), one]) for one in ids]
        return torch.stack(rows).to(self.batcher.loaded.device)

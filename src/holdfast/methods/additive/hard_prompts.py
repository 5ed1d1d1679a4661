"""Prompts of real words, searched while training goes on: AutoPrompt by gradient, LPAQA among given wordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.additive.front import drawn_words, embedded
from holdfast.methods.additive.prompts import SoftPrompts
from holdfast.methods.contract import Artifact, Batch, Card, Context, Options, ParameterGroup, none_given
from holdfast.models.anatomy import Component


class _Words(nn.Module):
    """The embeddings of the words at hand, ``[1, words, width]``; rows behind the last word stand for nothing."""

    def __init__(self, most: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, most, width))
        self.ids: list[int] = []

    def forward(self) -> Tensor:
        return self.table[:, : len(self.ids)]


class HardPrompts(SoftPrompts):
    """The engine of searches: a method's file proposes words, and the best on some training batches stay.

    The optimizer moves nothing. After each step's gradient the words at hand and those proposed are compared on the
    same batches; where a proposal has the lower loss it takes the place. What is saved is words: their ids, and the
    text of them.
    """

    prompt: _Words
    reads_rate = False
    goes_beside = False  # its search judges words by the batches' loss, which others move

    def first(self, context: Context) -> list[int]:
        """The words that the search begins with."""
        raise NotImplementedError

    def proposed(self, step: int) -> list[list[int]]:
        """Words to be tried after a step."""
        raise NotImplementedError

    @property
    def most(self) -> int:
        """The most words that there may be."""
        return int(self.options.tokens)

    def build(self, width: int, context: Context) -> _Words:
        made = _Words(self.most, width)
        if made.table.is_meta:
            return made
        if context.batches is None or context.loss is None:
            raise none_given(f"method '{self.card.name}'", "train")
        self.context = context
        self.seen = list(context.look(f"method '{self.card.name}'", self.options.batches))
        self.seed = int(torch.randint(2**31, (1,), generator=context.generator))
        self.prompt = made
        self.take(self.first(context))
        return made

    @property
    def tokens(self) -> int:
        return len(self.prompt.ids)

    def take(self, ids: Sequence[int]) -> None:
        """Let these words stand in front from now on."""
        self.prompt.ids = list(ids)
        with torch.no_grad():
            self.prompt.table.zero_()
            self.prompt.table[0, : len(ids)] = embedded(self.component, ids).to(self.prompt.table.device)

    def parameter_groups(self, lr: float, weight_decay: float) -> list[ParameterGroup]:
        """One that the optimizer leaves where it is: the gradient is what is wanted."""
        return [{"params": [self.prompt.table], "lr": 0.0, "weight_decay": 0.0}]

    def before_step(self, step: int) -> None:
        now, training = list(self.prompt.ids), self.component.model.training
        proposals = [ids for ids in self.proposed(step) if ids != now]
        self.component.model.eval()
        try:
            best, lowest = now, self._loss()
            for ids in proposals:
                self.take(ids)
                loss = self._loss()
                if loss < lowest:
                    best, lowest = ids, loss
        finally:
            self.take(best)
            self.component.model.train(training)

    @torch.no_grad()
    def _loss(self) -> float:
        return sum(float(self.context.measure(batch)) for batch in self.seen) / len(self.seen)

    def state(self) -> dict[str, Tensor]:
        return {"ids": torch.tensor(self.prompt.ids)}

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        self.take(state["ids"].tolist())

    def saved(self) -> Artifact:
        ids, tokenizer = self.prompt.ids, self.context.tokenizer
        said = {} if tokenizer is None else {"text": str(tokenizer.decode(ids))}
        return self._artifact({"table": self.prompt()}, ids=list(ids), **said)

    def detach(self) -> Artifact:
        self.seen = list[Batch]()
        return super().detach()

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.hang(component)
        ids, table = [int(one) for one in artifact.metadata["ids"]], artifact.tensors["table"]
        self._check(table)
        self.prompt = _Words(len(ids), self.width)
        self.prompt.to(next(self.decoder.parameters()).device).requires_grad_(False)
        self.prompt.ids = ids
        with torch.no_grad():
            self.prompt.table.copy_(table)
        self.context = Context(torch.Generator())
        self.switch_on()


class AutoPromptOptions(Options):
    """Length of the prompt and breadth of the search."""

    source = "ucinlp/autoprompt"
    tokens: int = Field(default=5, gt=0, description="words in front")
    candidates: int = Field(default=10, gt=0, description="words tried in one place after each step")
    batches: int = Field(default=2, gt=0, description="training batches on which words are compared; released: 10")


class AutoPrompt(HardPrompts):
    """In one place of the prompt after the other the ``candidates`` words with the largest ``-e g`` are tried.

    ``g`` is the gradient of the step's loss with respect to the place's embedding, ``e`` a word's. The place is drawn
    anew at each step; special tokens and image tokens are no candidates.
    """

    card = Card(
        name="autoprompt",
        paradigm="additive",
        family="prompt",
        summary="words in front, searched by gradient",
        paper="arXiv 2010.15980",
        year=2020,
        mergeable=False,
        official_code="ucinlp/autoprompt",
        extra_inference_cost="a longer key-value cache",
        checked_against="the search written out by hand, over several steps",
    )
    Settings = AutoPromptOptions

    def first(self, context: Context) -> list[int]:
        return drawn_words(self.component, self.most, context.generator)

    def proposed(self, step: int) -> list[list[int]]:
        generator, gradient = torch.Generator().manual_seed(self.seed + step), self.prompt.table.grad
        place = int(torch.randint(self.most, (1,), generator=generator))
        assert gradient is not None, "the loss was computed with the prompt in front"
        embed: Any = self.component.model.get_input_embeddings()  # type: ignore[operator]
        with torch.no_grad():
            gain = -(embed.weight.float() @ gradient[0, place].float())
            gain[sorted(self._barred(len(gain)))] = -torch.inf
            words = gain.topk(min(self.options.candidates, len(gain))).indices.tolist()
        now = self.prompt.ids
        return [[*now[:place], word, *now[place + 1 :]] for word in words]

    def _barred(self, vocabulary: int) -> set[int]:
        """Tokens that are no words."""
        config: Any = self.component.model.config
        marks = {getattr(config, name, None) for name in ("image_token_id", "image_token_index")}
        special = set(getattr(self.context.tokenizer, "all_special_ids", ()))
        return {int(one) for one in marks | special if one is not None and 0 <= one < vocabulary}


class LpaqaOptions(Options):
    """The wordings, and on how much they are compared."""

    source = "jzbjyb/LPAQA; the wordings are ours"
    wordings: tuple[str, ...] = Field(
        default=(
            "Answer the question.",
            "Look at the picture and answer.",
            "Answer in one word.",
            "Give the shortest right answer.",
            "Question about the picture:",
            "Say what you see.",
        ),
        min_length=2,
        description="what may stand in front; one is tried after each step",
    )
    batches: int = Field(default=2, gt=0, description="training batches on which wordings are compared")


class Lpaqa(HardPrompts):
    """Of several wordings of the instruction the one with the highest likelihood of the answers.

    The paper mines and paraphrases wordings of a relation and ranks them by accuracy; here they are given, and ranked
    by the loss. Its ensembles need a forward pass a wording and are not here. Wordings are tried one a step.
    """

    card = Card(
        name="lpaqa",
        paradigm="additive",
        family="prompt",
        summary="the best of several wordings in front",
        paper="arXiv 1911.12543",
        year=2020,
        mergeable=False,
        official_code="jzbjyb/LPAQA",
        extra_inference_cost="a longer key-value cache",
        checked_against="every wording's loss, computed apart",
    )
    Settings = LpaqaOptions
    ids: list[list[int]]

    @property
    def most(self) -> int:
        """The longest wording's words; without a tokenizer, as in plans, a word a letter."""
        return max(map(len, getattr(self, "ids", None) or self.options.wordings))

    def attach(self, component: Component, context: Context) -> None:
        if context.tokenizer is not None:
            said = [context.tokenizer(one, add_special_tokens=False)["input_ids"] for one in self.options.wordings]
            self.ids = [list(ids) for ids in said]
            empty = next((one for one, ids in zip(self.options.wordings, self.ids, strict=True) if not ids), None)
            if empty is not None:
                raise HoldfastError(f"the wording {empty!r} has no tokens", remedy="write some words")
        elif context.batches is not None:
            raise HoldfastError("method 'lpaqa' works with words and was given no tokenizer")
        super().attach(component, context)

    def first(self, context: Context) -> list[int]:
        return self.ids[0]

    def proposed(self, step: int) -> list[list[int]]:
        return [self.ids[(step + 1) % len(self.ids)]]

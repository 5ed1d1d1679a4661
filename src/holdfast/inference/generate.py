"""How the questions of a task are put to a model: in shared rows where that is right, else as the library does.

What is decided here is reported, so that a run can say which way its answers came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from holdfast.config.schema import Speed
from holdfast.data.examples import Example
from holdfast.inference.decoding import Decoder, Opening
from holdfast.inference.library import end_ids, follows_settings, generate, repetition_penalty
from holdfast.inference.likelihood import option_batches, option_scores
from holdfast.models.batch import Batch
from holdfast.models.chat import per_token
from holdfast.models.loading import Loaded
from holdfast.speed.decision import OFF, Decision, Report, insist
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.head import logits_at
from holdfast.speed.policy import something_shared
from holdfast.speed.sharing.batcher import Batcher
from holdfast.speed.sharing.supports import supports
from holdfast.speed.sharing.verify import TOLERANCE, VERIFIED, some, verify_sharing
from holdfast.speed.verified import is_verified, mark_verified

Answer = tuple[str, bool]
"""The text, and whether it ran into the length limit."""

CHECKED = Decision(True, "compared with separate rows before the first question")


@dataclass(frozen=True)
class OpenQuestions:
    """Questions for free answers as they come to the model, on the CPU.

    Attributes:
        fits: Of each, whether our own decoding answers it.
        ours: Those that it does.
        other: The others, as the library's ``generate`` takes them.
    """

    fits: tuple[bool, ...]
    ours: Opening | None
    other: dict[str, Tensor]


@dataclass
class Generator:
    """Asks questions for free answers.

    Attributes:
        loaded: The model.
        limit: Longest answer.
        decoder: Our own decoding; None: the library's.
        report: ``share_images`` and ``early_stop`` (an answered question costs nothing more).
    """

    loaded: Loaded
    limit: int
    decoder: Decoder | None = None
    report: Report = field(default_factory=dict)

    def prepare(self, examples: Sequence[Example]) -> OpenQuestions:
        """What is fed, on the CPU; another process may make it.

        Raises:
            HoldfastError: An example cannot be encoded.
        """
        fits = [False] * len(examples)
        if self.decoder is not None:
            # Layers that look back over a window get their masks from the library; within the window ours is the same.
            bound = self.decoder.batcher.longest
            rows = self.decoder.batcher.rows(examples)
            fits = [bound is None or row.length + self.limit <= bound for row in rows]
        ours = [example for example, fit in zip(examples, fits, strict=True) if fit]
        other = [example for example, fit in zip(examples, fits, strict=True) if not fit]
        return OpenQuestions(
            tuple(fits),
            self.decoder.prepare(ours) if self.decoder is not None and ours else None,
            dict(self.loaded.chat.encode(other, with_answers=False)) if other else {},
        )

    def __call__(self, examples: Sequence[Example], prepared: OpenQuestions | None = None) -> list[Answer]:
        """The answers, in the order of the examples.

        Args:
            examples: What is asked.
            prepared: What :meth:`prepare` made of them; default: made here.

        Raises:
            HoldfastError: An example cannot be encoded.
        """
        made = self.prepare(examples) if prepared is None else prepared
        answers: Iterator[Answer] = iter(())
        if self.decoder is not None and made.ours is not None:
            ours = [example for example, fit in zip(examples, made.fits, strict=True) if fit]
            tokens = self.decoder(ours, self.limit, made.ours)
            said = [self._text(ids, example) for ids, example in zip(tokens, ours, strict=True)]
            answers = iter([(text, ids[-1] not in self.decoder.ends) for text, ids in zip(said, tokens, strict=True)])
        other = [example for example, fit in zip(examples, made.fits, strict=True) if not fit]
        long = iter(generate(self.loaded, other, self.limit, encoded=made.other) if other else [])
        return [next(answers) if fit else next(long) for fit in made.fits]

    def _text(self, ids: list[int], example: Example) -> str:
        return self.loaded.chat.decode(torch.tensor(ids), thinking=bool(example.thoughts))


def make_generator(
    loaded: Loaded,
    examples: Sequence[Example],
    limit: int,
    *,
    speed: Speed,
    batch_size: int,
    cache: FeatureCache | None = None,
) -> Generator:
    """Decide how ``examples`` are asked, after comparing numbers on the first of them.

    ``share_images: off`` is the library's own ``generate`` from end to end. So is a model whose generation settings ask
    for more than our decoding does, also under ``on``: training may well share there, and is not to be lost over it.

    Raises:
        HoldfastError: Sharing is switched on, and the model cannot.
    """
    made = Generator(loaded, limit)
    if speed.share_images == "off":
        made.report = {"share_images": OFF, "early_stop": OFF}
        return made
    possible, followed = supports(loaded.model, loaded.chat), follows_settings(loaded.model)
    shared = possible
    if possible and followed:
        batcher = Batcher(loaded, ends="question", layout="shared", cache=cache)
        shared = something_shared(batcher, examples, batch_size)
        batcher.layout = "shared" if shared else "separate"
        if shared:
            possible = verify_sharing(batcher, examples)
        made.decoder = Decoder(batcher, end_ids(loaded), repetition_penalty(loaded.model))
        possible = possible and verify_steps(made.decoder, examples)
    insist("speed.share_images", speed.share_images, possible)
    early = possible and followed and Decision(True, "compared with a forward pass over the whole")
    if not early:
        made.decoder = None
    made.report = {"share_images": early and shared and CHECKED, "early_stop": early}
    return made


@dataclass
class OptionScorer:
    """Compares options.

    Attributes:
        batcher: Of the model, with answers.
        rows: Rows of a forward pass where nothing is shared.
        report: ``share_images``.
    """

    batcher: Batcher
    rows: int
    report: Report

    def prepare(self, asked: Sequence[tuple[Example, Sequence[str]]]) -> list[Batch]:
        """All that is fed, on the CPU; another process may make it.

        Raises:
            HoldfastError: An example cannot be encoded.
        """
        return list(option_batches(self.batcher, asked, rows=self.rows))

    def __call__(
        self, asked: Sequence[tuple[Example, Sequence[str]]], prepared: Sequence[Batch] | None = None
    ) -> list[dict[str, float]]:
        """Log-probabilities by option, see :func:`holdfast.inference.likelihood.option_scores`."""
        return option_scores(self.batcher, asked, rows=self.rows, prepared=prepared)


def make_scorer(
    loaded: Loaded,
    examples: Sequence[Example],
    *,
    speed: Speed,
    batch_size: int,
    cache: FeatureCache | None = None,
) -> OptionScorer:
    """Decide how options are compared.

    Args:
        loaded: The model.
        examples: Some examples, once an option each, to compare numbers on.
        speed: What is wanted.
        batch_size: Rows of a forward pass where nothing is shared.
        cache: Features in place of pixels.

    Raises:
        HoldfastError: Sharing is switched on, and the model cannot.
    """
    batcher = Batcher(loaded, layout="shared", cache=cache)
    shared = OFF
    if speed.share_images != "off":
        possible = supports(loaded.model, loaded.chat)
        worth = possible and something_shared(batcher, examples, len(examples))
        possible = possible and (verify_sharing(batcher, examples) if worth else possible)
        shared = insist("speed.share_images", speed.share_images, possible) and worth and CHECKED
    batcher.layout = "shared" if shared else "separate"
    return OptionScorer(batcher, batch_size, {"share_images": shared})


@torch.no_grad()
def verify_steps(decoder: Decoder, examples: Sequence[Example]) -> Decision:
    """Whether tokens fed behind a cache get the logits that they get in a row of their own."""
    batcher, loaded = decoder.batcher, decoder.batcher.loaded
    what = f"steps behind a cache, {batcher.layout} rows"
    if is_verified(loaded.model, what):
        return VERIFIED
    chosen = (some(examples) if batcher.layout == "shared" else []) or list(examples[:2])
    bound = batcher.longest
    if bound is not None:
        chosen = [e for e, row in zip(chosen, batcher.rows(chosen), strict=True) if row.length < bound]
    if not chosen:
        return Decision(True, "no question is short enough to be fed behind a cache")
    name = type(loaded.model).__name__
    try:
        state, first = decoder.start(decoder.prepare(chosen))
        order = state.order
        tokens = dict(zip(order, first.argmax(dim=-1).tolist(), strict=True))
        behind = decoder.step(state, tokens).float().cpu()
        whole = torch.stack([_whole(loaded, chosen[index], tokens[index]) for index in order])
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        return Decision(False, f"{name} does not answer row by row ({' '.join(str(error).split())[:120]})")
    worst = float(((behind - whole).abs().amax(-1) / whole.abs().amax(-1).clamp(min=1e-6)).max())
    if worst <= TOLERANCE.get(next(loaded.model.parameters()).dtype, 5e-2):
        mark_verified(loaded.model, what)
        return VERIFIED
    return Decision(False, f"{name} gives other logits behind a cache (by {worst:.2g} of the largest)")


def _whole(loaded: Loaded, example: Example, token: int) -> Any:
    """Logits ``[vocabulary]`` behind the question and one token, without a cache."""
    batch = dict(loaded.chat.encode([example], with_answers=False))
    more = {"input_ids": token, "attention_mask": 1}
    for key in [key for key in batch if per_token(key)]:
        batch[key] = torch.nn.functional.pad(batch[key], (0, 1), value=more.get(key, 0))
    last = torch.zeros(batch["input_ids"].shape, dtype=torch.bool)
    last[0, -1] = True
    return logits_at(loaded.model, Batch.of(batch).to(loaded.device).inputs(loaded.model), last)[0].float().cpu()

"""Ask a model every item of a task: greedy or by options, batched, resumable by item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch

from holdfast.config.schema import Speed
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.inference.generate import Generator, OpenQuestions, OptionScorer, make_generator, make_scorer
from holdfast.inference.likelihood import candidates, likeliest
from holdfast.inference.options import options_of, yes_or_no
from holdfast.models.batch import Batch
from holdfast.models.loading import Loaded
from holdfast.models.memory import give_back, out_of_memory
from holdfast.predictions.file import PredictionWriter
from holdfast.predictions.record import Prediction
from holdfast.speed.ahead import Ahead
from holdfast.speed.decision import Decision, Report
from holdfast.speed.features.cache import FeatureCache
from holdfast.speed.sharing.attention import in_two_pieces
from holdfast.speed.sharing.rows import by_images
from holdfast.tasks.task import Task

Options = Literal["generate", "likelihood"]

SAMPLE = 8
"""Questions whose options are compared in shared and in separate rows before the first answer."""


@torch.no_grad()
def predict(
    loaded: Loaded,
    task: Task,
    file: Path,
    *,
    batch_size: int = 32,
    max_new_tokens: int = 32,
    advance: Callable[[int], None] | None = None,
    speed: Speed | None = None,
    options: Options = "generate",
    cache: FeatureCache | None = None,
) -> Report:
    """Append the predictions of ``task.test`` to ``file``; items that stand there already are not asked again.

    Questions about the same images are asked together, images in order of the length of their questions, so that a
    batch wastes little padding. The order depends on nothing else, so the file is the same for every batch size.

    Args:
        loaded: The model.
        task: Whose test items are asked.
        file: A prediction file, written line by line.
        batch_size: Items asked together; does not change an answer.
        max_new_tokens: Longest answer, unless the task itself says.
        advance: Called with the number of items just finished.
        speed: Whether questions about an image share a row, and whether other processes prepare coming ones; changes
            no answer.
        options: ``likelihood``: an item with options (see :func:`holdfast.inference.options.options_of`) is answered by
            the likeliest of them, and the log-probabilities stand in ``extra`` under ``option_scores``; items without
            options are generated.
        cache: Image features in place of pixels.

    Returns:
        What was decided: ``share_images``, ``workers``, ``early_stop`` where text is generated, and
        ``likelihood`` where it was asked for. Empty where no item was left to ask.

    Raises:
        HoldfastError: ``speed.share_images`` is on and the model cannot, or an item cannot be encoded.
    """
    limit = task.max_new_tokens or max_new_tokens
    speed = Speed() if speed is None else speed
    was_training = loaded.model.training
    loaded.model.eval()
    try:
        with PredictionWriter(file, resume=True) as writer:
            left = [example for example in task.test if example.id not in writer.done]
            if advance is not None and writer.done:
                advance(len(task.test) - len(left))
            if not left:
                return {}
            groups = in_order(left)
            choices = _options(task, left) if options == "likelihood" else {}
            ask, score, report = _engage(loaded, groups, choices, limit, speed, batch_size, cache)
            if options == "likelihood":
                report["likelihood"] = Decision(bool(choices), f"{len(choices)} of {len(left)} items have options")
            inquiry, whole = Inquiry(task, choices, ask, score), list(batches(groups, batch_size))
            with inquiry.ahead(whole, speed, loaded.device) as coming, in_two_pieces(loaded.model):
                for number, examples in enumerate(whole):
                    answer = partial(inquiry.answers, known=(examples, coming.take(number)))
                    report["workers"] = coming.decision
                    for part, made in in_parts(examples, answer, speed):
                        for prediction in made:
                            writer.write(prediction)
                        if advance is not None:
                            advance(len(part))
                        if len(part) < len(examples):
                            report["split_on_oom"] = Decision(
                                True, f"{len(part)} of {len(examples)} questions at a time"
                            )
            return report
    finally:
        loaded.model.train(was_training)


def in_order(examples: Sequence[Example]) -> list[list[Example]]:
    """Examples by their images, few and short questions first."""
    ordered = sorted(examples, key=lambda example: (len(example.question), example.id))
    groups = [[ordered[index] for index in group] for group in by_images(ordered)]
    return sorted(groups, key=lambda one: (len(one[0].images), len(one[-1].question), one[-1].id))


def batches(groups: Sequence[Sequence[Example]], size: int) -> Iterator[list[Example]]:
    """At most ``size`` examples at a time; a group is only divided where it is larger than a batch."""
    batch: list[Example] = []
    for group in groups:
        for begin in range(0, len(group), size):
            part = group[begin : begin + size]
            if len(batch) + len(part) > size:
                yield batch
                batch = []
            batch += part
    if batch:
        yield batch


def in_parts(
    examples: Sequence[Example], answer: Callable[[Sequence[Example]], Iterator[Prediction]], speed: Speed
) -> Iterator[tuple[Sequence[Example], list[Prediction]]]:
    """What ``answer`` says of the examples, in as many parts as memory asks for.

    Raises:
        HoldfastError: One example alone does not fit.
    """
    try:
        made = list(answer(examples))
    except (RuntimeError, MemoryError) as error:
        if not speed.split_on_oom or not out_of_memory(error):
            raise
        if len(examples) == 1:
            raise HoldfastError(
                "one question alone does not fit into memory", item=examples[0].id, remedy="lower max_new_tokens"
            ) from error
    else:
        yield examples, made
        return
    give_back()
    half = (len(examples) + 1) // 2
    yield from in_parts(examples[:half], answer, speed)
    yield from in_parts(examples[half:], answer, speed)


def _options(task: Task, examples: Sequence[Example]) -> dict[str, tuple[str, ...]]:
    """Options by the id of their example, of those that have some."""
    yes_no = yes_or_no(task)
    found = {example.id: options_of(example, yes_no=yes_no) for example in examples}
    return {item: options for item, options in found.items() if options}


def _engage(
    loaded: Loaded,
    groups: Sequence[Sequence[Example]],
    choices: Mapping[str, Sequence[str]],
    limit: int,
    speed: Speed,
    batch_size: int,
    cache: FeatureCache | None,
) -> tuple[Generator | None, OptionScorer | None, Report]:
    """What answers the open questions and what compares options, each where there are some, and their reports."""
    examples = [example for group in groups for example in group]
    free = [example for example in examples if example.id not in choices]
    first = islice((example for example in examples if example.id in choices), SAMPLE)
    options = [candidate for example in first for candidate in candidates(example, choices[example.id])]
    ask, score, report = None, None, dict[str, Decision | str]()
    if options:
        score = make_scorer(loaded, options, speed=speed, batch_size=batch_size, cache=cache)
        report |= score.report
    if free:
        ask = make_generator(loaded, free, limit, speed=speed, batch_size=batch_size, cache=cache)
        report |= ask.report
    return ask, score, report


@dataclass(frozen=True)
class PreparedQuestions:
    """Some questions as they come to the model, on the CPU: open ones, and those with options."""

    free: OpenQuestions | None
    closed: list[Batch] | None


@dataclass(frozen=True)
class Inquiry:
    """How the questions of a task are put.

    Attributes:
        task: Whose they are.
        choices: Options by the id of their question, where it has some.
        ask: What answers open questions, where there are some.
        score: What compares options, where there are some.
    """

    task: Task
    choices: Mapping[str, Sequence[str]]
    ask: Generator | None
    score: OptionScorer | None

    def ahead(self, whole: Sequence[Sequence[Example]], speed: Speed, device: torch.device) -> Ahead[PreparedQuestions]:
        """The batches ``whole`` as they come to the model, by number, made by other processes where that is wanted."""
        return Ahead(
            lambda number: self.prepare(whole[number]),
            end=len(whole),
            workers=speed.workers,
            device=device,
            begin=self._in_worker,
            strict=False,
        )

    def prepare(self, examples: Sequence[Example]) -> PreparedQuestions:
        """What the model is fed of these; a function of the examples, wherever it is called.

        Raises:
            HoldfastError: An example cannot be encoded.
        """
        free, closed = self._divided(examples)
        return PreparedQuestions(
            self.ask.prepare(free) if self.ask is not None and free else None,
            self.score.prepare(closed) if self.score is not None and closed else None,
        )

    def answers(
        self, examples: Sequence[Example], known: tuple[Sequence[Example], PreparedQuestions]
    ) -> Iterator[Prediction]:
        """The predictions, in the order of the examples.

        Args:
            examples: What is asked.
            known: Questions that are prepared; others (some of them, where memory was short) are prepared here.
        """
        prepared = known[1] if examples is known[0] else self.prepare(examples)
        free, closed = self._divided(examples)
        texts: dict[str, tuple[str, bool]] = {}
        scores: dict[str, dict[str, float]] = {}
        if self.ask is not None and free:
            texts = dict(zip((e.id for e in free), self.ask(free, prepared.free), strict=True))
        if self.score is not None and closed:
            scores = dict(zip((e.id for e, _ in closed), self.score(closed, prepared.closed), strict=True))
        for example in examples:
            if example.id in texts:
                yield _prediction(self.task, example, *texts[example.id])
            else:
                found = scores[example.id]
                yield _prediction(self.task, example, likeliest(found), False, {"option_scores": found})

    def _divided(self, examples: Sequence[Example]) -> tuple[list[Example], list[tuple[Example, Sequence[str]]]]:
        """Those without options, and those with them."""
        free = [example for example in examples if example.id not in self.choices]
        return free, [(example, self.choices[example.id]) for example in examples if example.id in self.choices]

    def _in_worker(self, workers: int) -> None:
        """Workers remember as much together as one process would alone."""
        if self.ask is not None and self.ask.decoder is not None:
            self.ask.decoder.batcher.rows.limit //= workers
        if self.score is not None:
            self.score.batcher.rows.limit //= workers


def _prediction(
    task: Task, example: Example, text: str, truncated: bool, more: Mapping[str, Any] | None = None
) -> Prediction:
    return Prediction(
        id=example.id,
        prediction=text,
        task=task.name,
        image=example.image_key,
        question=example.question,
        references=example.answers,
        choices=example.choices,
        truncated=truncated,
        metric=task.metric,
        extra={**example.extra, **(more or {})},
    )

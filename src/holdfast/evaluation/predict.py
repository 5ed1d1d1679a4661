"""Ask a model every item of a task: greedy, batched, resumable by item. The only file here that needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from holdfast.data.examples import Example
from holdfast.evaluation.predictions import Prediction, PredictionWriter
from holdfast.models.loading import Loaded
from holdfast.tasks.task import Task


@torch.no_grad()
def predict(
    loaded: Loaded,
    task: Task,
    file: Path,
    *,
    batch_size: int = 32,
    max_new_tokens: int = 32,
    advance: Callable[[int], None] | None = None,
) -> None:
    """Append the predictions of ``task.test`` to ``file``; items that stand there already are not asked again.

    Items are asked in order of their length, so that a batch wastes little padding.

    Args:
        loaded: The model.
        task: Whose test items are asked.
        file: A prediction file, written line by line.
        batch_size: Items asked together; does not change an answer.
        max_new_tokens: Longest answer, unless the task itself says.
        advance: Called with the number of items just finished.
    """
    limit = task.max_new_tokens or max_new_tokens
    was_training = loaded.model.training
    loaded.model.eval()
    with PredictionWriter(file, resume=True) as writer:
        open_items = [example for example in task.test if example.id not in writer.done]
        open_items.sort(key=lambda example: (len(example.images), len(example.question), example.id))
        if advance is not None and writer.done:
            advance(len(task.test) - len(open_items))
        for begin in range(0, len(open_items), batch_size):
            examples = open_items[begin : begin + batch_size]
            for example, (text, truncated) in zip(examples, _generate(loaded, examples, limit), strict=True):
                writer.write(_prediction(task, example, text, truncated))
            if advance is not None:
                advance(len(examples))
    loaded.model.train(was_training)


def _prediction(task: Task, example: Example, text: str, truncated: bool) -> Prediction:
    return Prediction(
        id=example.id,
        prediction=text,
        task=task.name,
        image=example.image_key or None,
        question=example.question,
        references=example.answers,
        choices=example.choices,
        truncated=truncated,
        metric=task.metric,
        extra=example.extra,
    )


def _generate(loaded: Loaded, examples: Sequence[Example], limit: int) -> list[tuple[str, bool]]:
    """The answers, and whether each ran into the length limit."""
    batch = loaded.chat.encode(examples, with_answers=False)
    batch = {name: value.to(loaded.device) for name, value in batch.items()}
    ends = _end_ids(loaded)
    produced = loaded.model.generate(  # type: ignore[operator]
        **batch,
        max_new_tokens=limit,
        do_sample=False,
        num_beams=1,
        eos_token_id=ends,
        pad_token_id=loaded.chat.tokenizer.pad_token_id,
    )
    new = produced[:, batch["input_ids"].shape[1] :].cpu()
    stop = torch.tensor(ends)
    return [(loaded.chat.decode(row), not bool(torch.isin(row, stop).any())) for row in new]


def _end_ids(loaded: Loaded) -> list[int]:
    """What ends an answer: the tokenizer's end token and those the model's own generation settings add."""
    own = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
    more = own if isinstance(own, list) else [] if own is None else [own]
    return sorted({*loaded.chat.end_ids, *(int(token) for token in more)})

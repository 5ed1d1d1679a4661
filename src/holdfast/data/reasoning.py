"""Answers that begin with their own reasoning: ``<think>It is round.</think>circle``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from holdfast.data.examples import Example, Turn

REASONING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel>thought", "<channel|>"),
)
"""Marks between which models think before they answer."""

_OPENINGS = tuple(opening for opening, _ in REASONING)


def parted(text: str) -> tuple[str, str]:
    """Reasoning with its marks, and the answer behind it; no reasoning where there are not both."""
    bare = text.lstrip()
    for opening, closing in REASONING:
        if bare.startswith(opening) and closing in bare:
            thoughts, _, answer = bare.partition(closing)
            if answer.strip():
                return thoughts + closing, answer.strip()
    return "", text


def within(thoughts: str) -> tuple[tuple[str, str], str]:
    """The marks of reasoning that :func:`parted` found, and what stands between them."""
    opening, closing = next(pair for pair in REASONING if thoughts.startswith(pair[0]) and thoughts.endswith(pair[1]))
    return (opening, closing), thoughts[len(opening) : -len(closing)].strip()


def begins(text: str) -> bool:
    """Whether a text begins with a mark of reasoning."""
    return text.lstrip().startswith(_OPENINGS)


def without_reasoning(examples: Sequence[Example], *, keep: bool) -> Sequence[Example]:
    """The examples with answers that can be judged; themselves where no answer begins with reasoning.

    Args:
        examples: As they were read.
        keep: Whether the last turn remembers the reasoning of the answer that is trained on. Earlier turns do not:
            templates of models that think leave it out of them.
    """
    answers = chain.from_iterable(turn.answers for example in examples for turn in example.turns)
    if not any(map(begins, answers)):
        return examples
    return tuple(_without(example, keep) for example in examples)


def _without(example: Example, keep: bool) -> Example:
    said = [[parted(answer) for answer in turn.answers] for turn in example.turns]
    if not any(thoughts for answers in said for thoughts, _ in answers):
        return example
    turns = [
        Turn(turn.question, tuple(answer for _, answer in answers))
        for turn, answers in zip(example.turns, said, strict=True)
    ]
    if keep and said[-1]:
        turns[-1] = replace(turns[-1], thoughts=said[-1][0][0])
    return replace(example, turns=tuple(turns))

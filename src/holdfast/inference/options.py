"""The answers a question may be given, where there are a few."""

from __future__ import annotations

from string import ascii_uppercase

from holdfast.data.examples import Example
from holdfast.tasks.task import Task

YES_NO = ("yes", "no")
_YES_NO_METRICS = ("pope", "mme")


def options_of(example: Example, *, yes_no: bool) -> tuple[str, ...]:
    """The answers to choose between, each as the model is to say it; empty where the question is open.

    Of a multiple-choice item these are the letters where its reference is a letter (ScienceQA, MMBench), and else the
    texts (IconQA). The reference tells the form that the task trains and scores, and no more: all letters or all texts
    are compared. Where a reference could be both, ``answer_index`` decides, and without it the letter, as in the
    metrics. Of an item of a yes-or-no task they are yes and no, written like the reference.

    Args:
        example: The item.
        yes_no: Whether its task is a yes-or-no task, see :func:`yes_or_no`.
    """
    if example.choices:
        letters = tuple(ascii_uppercase[: len(example.choices)])
        options = letters if _lettered(example, letters) else example.choices
        return tuple(dict.fromkeys(options))
    if not yes_no or not example.answers:
        return ()
    reference = example.answers[0].strip()
    if reference.lower() not in YES_NO:
        return ()
    return tuple(_written_like(reference, word) for word in YES_NO)


def yes_or_no(task: Task) -> bool:
    """Whether every answer of the task is yes or no: by its metric, or because both occur and nothing else does.

    This is asked of the task and not of the item: where some answers are open (VQAv2, GQA), offering yes and no to
    those items alone whose reference is one of them would give away half the answer.
    """
    if task.metric in _YES_NO_METRICS:
        return True
    answers = {answer.strip().lower() for example in task.test for answer in example.answers}
    return answers == set(YES_NO)


def _lettered(example: Example, letters: tuple[str, ...]) -> bool:
    reference = example.answers[0].strip() if example.answers else ""
    if reference not in letters:
        return False
    index = example.extra.get("answer_index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(example.choices):
        return True
    return reference == letters[index] or reference != example.choices[index].strip()


def _written_like(reference: str, word: str) -> str:
    if reference.isupper():
        return word.upper()
    return word.capitalize() if reference[:1].isupper() else word

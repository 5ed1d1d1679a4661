"""Finding the chosen option in a free-text answer to a multiple-choice question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from holdfast.metrics.base import UnjudgeableError
from holdfast.metrics.text.normalise import normalise
from holdfast.predictions.record import Prediction

_MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_ANSWER_IS = re.compile(r"(?:answer|option|choice)\s*(?:is|:)\s*[(\[*]*([A-Z])\b")


def letter(index: int) -> str:
    """0 to ``A``, 1 to ``B``...; behind ``Z`` the number of the option, counted from 1."""
    return ascii_uppercase[index] if index < len(ascii_uppercase) else str(index + 1)


def infer(answer: str, choices: Sequence[str], *, article_a: bool = True) -> int | None:
    """Index of the option the answer chooses, or ``None``.

    VLMEvalKit's order of trials without a judge: exactly one option letter stands alone; exactly one option's text is
    inside an answer no longer than twice all options; ``answer is X``. Nothing is drawn at random and no environment
    variable is read.

    Args:
        answer: The model's text.
        choices: Option texts in the order shown.
        article_a: Take a lone ``A`` in a longer answer for the option. VLMEvalKit does unless VERBOSE is set.
    """
    tokens = answer.translate(_MARKS).split()
    alone = [i for i in range(len(choices)) if letter(i) in tokens]
    if len(alone) == 1 and (article_a or letter(alone[0]) != "A" or len(tokens) <= 3):
        return alone[0]
    lowered = answer.lower()
    if len(lowered) <= 2 * sum(map(len, choices)):
        inside = [i for i, choice in enumerate(choices) if choice and choice.lower() in lowered]
        if len(inside) == 1:
            return inside[0]
    named = {ascii_uppercase.index(x) for x in _ANSWER_IS.findall(answer)}
    if len(named) == 1 and (index := named.pop()) < len(choices):
        return index
    return None


def exact_choice(answer: str, choices: Sequence[str]) -> int | None:
    """Index of the only option whose text equals the answer, case and outer punctuation aside."""
    wanted = normalise(answer)
    equal = [i for i, choice in enumerate(choices) if normalise(choice) == wanted]
    return equal[0] if len(equal) == 1 else None


def gold_index(item: Prediction) -> int:
    """Index of the right option, from ``extra['answer_index']`` or the first reference.

    A reference may be a letter, the option's text, or (where the options are not numbers themselves) an index. A letter
    is tried first.

    Raises:
        UnjudgeableError: Where none of these fits.
    """
    index = item.extra.get("answer_index")
    if index is None and item.references:
        gold = item.references[0].strip()
        if len(gold) == 1 and gold in ascii_uppercase:
            index = ascii_uppercase.index(gold)
        else:
            index = exact_choice(gold, item.choices)
            if index is None and gold.isdecimal():
                index = int(gold)
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise UnjudgeableError("the reference is neither a letter nor one of the choices", item=item.id)
    if item.choices and index >= len(item.choices):
        raise UnjudgeableError(f"the answer is option {letter(index)} of {len(item.choices)}", item=item.id)
    return index

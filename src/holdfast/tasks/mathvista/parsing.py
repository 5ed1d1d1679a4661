"""MathVista's own rules for answers (``evaluation/`` of lupantech/MathVista, 53d5258).

A response becomes an extraction (there by GPT-4; read in here, or found by the quick rules), an extraction a value of
the question's type, and the value has to equal the answer character for character.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from holdfast.metrics.text.edit_distance import edit_distance

_QUICK = re.compile(r'The answer is "(.*)"\.')
_BRACKETED = re.compile(r"\(([a-zA-Z])\)")


def quick_extraction(response: str, choices: Sequence[str], answer_type: str) -> str | None:
    """What ``extract_answer`` with ``quick_extract`` finds without a model; ``None`` where it would ask one.

    A choice as it stands, a whole number or (for floats) a number and nothing else, or ``The answer is "text".``.
    """
    if response in choices:
        return response
    try:
        if answer_type == "integer":
            return str(int(response))
        if answer_type == "float":
            return str(float(response))
    except ValueError:
        pass
    found = _QUICK.search(response)
    return found.group(1) if found else None


def value_of(
    extraction: str, choices: Sequence[str], answer_type: str, precision: Any, *, decimals_are_integers: bool = True
) -> str | None:
    """``normalize_extracted_answer``: the choice, whole number, rounded number or list that an extraction means.

    With choices: ``(B)`` anywhere or ``B`` alone, else the choice at the smallest edit distance (the first of equals),
    so that every extraction chooses something. ``None`` where a number was wanted and none is there.

    Args:
        extraction: What was taken out of the response.
        choices: Option texts; empty for a free answer.
        answer_type: ``text``, ``integer``, ``float`` or ``list``.
        precision: Decimals of a float; whatever the file holds.
        decimals_are_integers: Cut ``7.9`` to 7 where a whole number is wanted, as the code does; the scores published
            beside it were made with a rule that takes whole numbers only.
    """
    if choices:
        text = extraction.strip()
        bracketed = _BRACKETED.search(text)
        text = bracketed.group(1).upper() if bracketed else text
        at = ascii_uppercase.find(text) if len(text) == 1 else -1
        if 0 <= at < len(choices):
            return choices[at]
        return min(choices, key=lambda choice: edit_distance(text, choice))
    try:
        if answer_type == "integer":
            return str(int(float(extraction) if decimals_are_integers else extraction))
        if answer_type == "float":
            return str(round(float(extraction), int(precision)))
    except (TypeError, ValueError, OverflowError):
        return None
    return extraction

"""Plain normalisation of short answers, and the lenient reading that tells format loss from ability loss."""

from __future__ import annotations

import re

_EDGES = " \t\r\n.,;:!?\"'`()[]{}<>*"
_WORD = re.compile(r"\w+(?:[.,'’]\w+)*", re.UNICODE)
_OPENING = re.compile(
    r"^(?:(?:the|my|final)\s+)*(?:answer|option|choice)\s*(?:is|:)\s*:?\s*", re.IGNORECASE | re.UNICODE
)


def normalise(text: str) -> str:
    """Lower case, single spaces, no punctuation at either end.

    Falls back to the stripped text where nothing else would remain, so that ``"?"`` equals only ``"?"``.
    """
    plain = " ".join(text.casefold().split())
    return plain.strip(_EDGES) or plain


def words(text: str) -> list[str]:
    """Lower-cased words; decimals, thousands and contractions stay whole."""
    return _WORD.findall(text.casefold())


def says(prediction: str, reference: str) -> bool:
    """Whether a longer prediction gives the reference, read leniently.

    The reference must stand in the prediction as whole words, so ``yes`` is not found in ``yesterday``. Of ``yes`` and
    ``no`` only the first one said counts, so ``no, not yes`` does not say ``yes``.
    """
    want, have = words(reference), words(_OPENING.sub("", prediction.strip()))
    if not want or not have:
        return False
    if want in (["yes"], ["no"]):
        return next((w for w in have if w in ("yes", "no")), None) == want[0]
    return any(have[i : i + len(want)] == want for i in range(len(have) - len(want) + 1))

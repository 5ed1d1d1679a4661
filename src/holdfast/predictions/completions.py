"""Chat completions as OpenAI's interface gives them: a model's answers, or a judge's ratings of such."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.files import Record

_RATING = re.compile(r"\brating\s*:\s*\[?\d", re.IGNORECASE)
"""How a judge is told to write its rating; an answer may have the word without a number."""


def message_of(values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The message of a completion's first choice; ``None`` where the values are no chat completion."""
    choices = values.get("choices")
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        return None
    message = choices[0].get("message")
    return message if isinstance(message, dict) else None


def rates(rows: Iterable[Record]) -> bool:
    """Whether these completions are a judge's: one of them, not all, must hold a rating that can be read."""
    messages = (message_of(row.values) for row in rows)
    return any(_RATING.search(str(message.get("content"))) for message in messages if message is not None)

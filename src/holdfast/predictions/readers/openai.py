"""Chat completions, one JSON object a line: output of OpenAI's batch interface, as vLLM and others write it too, or the
completions themselves, a model's answers or a judge's ratings of such."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record
from holdfast.predictions.columns import as_id, spoken, was_cut
from holdfast.predictions.layout import Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction

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


def fits_batch(look: Look) -> bool:
    """Answers under the ``custom_id`` of their requests."""
    return look.has("custom_id response")


def read_batch(look: Look, ask: Ask) -> Reading:
    """Answers by ``custom_id``; a request that failed has none. Requests hold no gold answer, so the references are a
    file of their own."""
    return reading_of(look, "OpenAI batch output", (_of_batch(row, look) for row in look.rows()))


def _of_batch(row: Record, look: Look) -> Prediction:
    item = as_id(row.values.get("custom_id"), "custom_id", look.path, row.line)
    response = row.values.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    failed = response is None or row.values.get("error") or (isinstance(response, dict) and _failed(response))
    if failed or not isinstance(body, dict):
        return Prediction(item, None, line=row.line)
    return _answer(body, item, row.line, look)


def _failed(response: Mapping[str, Any]) -> bool:
    status = response.get("status_code")
    return isinstance(status, int) and status >= 400


def _answer(body: Mapping[str, Any], item: str, line: int, look: Look) -> Prediction:
    """The text of a completion, of the chat, the older or the responses interface."""
    choices, output = body.get("choices"), body.get("output")
    said: Any = None
    cut = body.get("status") == "incomplete"
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        message = message_of(body)
        said = None if message is None else spoken([{**message, "role": "assistant"}], "assistant")
        said = choices[0].get("text") if said is None else said
        cut = was_cut(choices[0])
    elif isinstance(output, list):
        said = spoken([{"role": "assistant", **part} for part in output if isinstance(part, dict)], "assistant")
    elif choices is None and output is None:
        raise HoldfastError("the response holds no completion", file=look.path, line=line, item=item)
    return Prediction(item, said if isinstance(said, str) else None, truncated=cut, line=line)


def fits_completions(look: Look) -> bool:
    """Completions with ids, which are not a judge's ratings."""
    return look.has("id choices") and message_of(look.first) is not None and not rates(look.head)


def read_completions(look: Look, ask: Ask) -> Reading:
    """Answers by the completions' own ids."""

    def answer(row: Record) -> Prediction:
        item = as_id(row.values.get("id"), "id", look.path, row.line)
        return _answer(row.values, item, row.line, look)

    return reading_of(look, "chat completions", (answer(row) for row in look.rows()))


LAYOUTS = (
    Layout("OpenAI batch output", fits_batch, read_batch),
    Layout("chat completions", fits_completions, read_completions),
)

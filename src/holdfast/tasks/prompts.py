"""Prompt templates of task cards, filled in from an example.

Fields: ``{question}``; ``{choices}`` (``red, blue``), ``{lettered}`` (``A.red, B.blue``) and ``{options}`` (one line
each, ``A. red``); ``{instruction}`` (to answer with the letter, or where there are no options with a word or
phrase); ``{context}`` (``Context: HINT`` and a line break) and ``{hint}`` (``HINT`` and a line break), both
empty where there is no hint; ``{ocr}`` (``SALE, 50%``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from string import ascii_uppercase

from holdfast.data.examples import Example, Turn

BY_LETTER = "Answer with the option's letter from the given choices directly."
IN_WORDS = "Answer the question using a single word or phrase."
_FIELD = re.compile(r"\{(\w+)\}")
_FIELDS: dict[str, Callable[[Example], str]] = {
    "question": lambda example: example.turns[-1].question,
    "choices": lambda example: ", ".join(example.choices),
    "lettered": lambda example: ", ".join(f"{letter}.{text}" for letter, text in _lettered(example)),
    "options": lambda example: "\n".join(f"{letter}. {text}" for letter, text in _lettered(example)),
    "instruction": lambda example: BY_LETTER if example.choices else IN_WORDS,
    "context": lambda example: f"Context: {_hint(example)}\n" if _hint(example) else "",
    "hint": lambda example: f"{_hint(example)}\n" if _hint(example) else "",
    "ocr": lambda example: ", ".join(str(token) for token in example.extra.get("ocr_tokens", ())),
}


def check_template(template: str) -> None:
    """Raise :class:`ValueError` on a field that is not known."""
    unknown = [name for name in _FIELD.findall(template) if name not in _FIELDS]
    if unknown:
        raise ValueError(f"the prompt has no field {{{unknown[0]}}}; known: {', '.join(_FIELDS)}")


def render(template: str, example: Example) -> str:
    """The template with every field filled in once; braces inside a question stay as they are."""
    return _FIELD.sub(lambda found: _FIELDS[found.group(1)](example), template)


def ask(example: Example, templates: Sequence[str]) -> Example:
    """The example with its last question written into one of ``templates``.

    Of several templates the item's id chooses, so that the same item is always asked the same way.
    """
    chosen = int(sha256(example.id.encode()).hexdigest()[:8], 16) % len(templates) if len(templates) > 1 else 0
    last = example.turns[-1]
    return replace(example, turns=(*example.turns[:-1], Turn(render(templates[chosen], example), last.answers)))


def _lettered(example: Example) -> list[tuple[str, str]]:
    return list(zip(ascii_uppercase, example.choices, strict=False))


def _hint(example: Example) -> str:
    return str(example.extra.get("hint") or "").strip()

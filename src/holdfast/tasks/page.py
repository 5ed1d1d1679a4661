"""The tables of ``docs/tasks.md``, made from the cards."""

from __future__ import annotations

import json
from collections.abc import Iterator

from holdfast.tasks.cards import TaskCard, all_cards

BEGIN, END = "<!-- cards: begin -->", "<!-- cards: end -->"
STUDIES = {"peft_mllm": "arXiv 2406.05130", "keeping_yourself": "arXiv 2503.04543"}


def markdown() -> str:
    """One table of all cards, then a section for each."""
    lines = ["| task | what | metric (variant) | role in 2406.05130 | role in 2503.04543 |", "|---|---|---|---|---|"]
    for card in all_cards(shipped=True):
        roles = f"{card.roles.peft_mllm.role} | {card.roles.keeping_yourself.role}"
        lines.append(f"| [`{card.name}`](#{card.name}) | {card.title} | {card.metric} ({card.variant}) | {roles} |")
    for card in all_cards(shipped=True):
        lines += ["", *_section(card)]
    return "\n".join(lines) + "\n"


def _section(card: TaskCard) -> Iterator[str]:
    yield f"### {card.name}"
    yield ""
    yield f"{card.title}. Version {card.version}. {card.notes}".strip()
    yield ""
    several = f" (one of {len(card.prompt)}, by the item's id)" if len(card.prompt) > 1 else ""
    for number, prompt in enumerate(card.prompt):
        yield f"- prompt{several if not number else ''}: `{json.dumps(prompt, ensure_ascii=False)}`"
    yield f"- parts: {parts_in_words(card)}; answers of at most {card.max_new_tokens} tokens"
    yield f"- files: {card.origin.site} (<{card.origin.homepage}>); licence: {card.origin.licence}"
    yield "- laid out as: " + "; ".join(f"`{entry}`" for entry in card.origin.tree)
    for key, study in STUDIES.items():
        role = getattr(card.roles, key)
        yield f"- in {study}: {role.role}" + (f" ({role.note})" if role.note else "")
    for known in card.scores:
        yield f"- published: **{known.score:g}**, {known.model}, {known.setting} [{known.provenance}]"


def parts_in_words(card: TaskCard) -> str:
    """``train from train2014, test from val2014``."""
    parts = card.splits.model_dump()
    return ", ".join(f"{part} from {' and '.join(splits)}" for part, splits in parts.items() if splits)

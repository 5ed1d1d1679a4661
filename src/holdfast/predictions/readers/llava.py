"""LLaVA's answer files: one JSON object a line, whatever the benchmark."""

from __future__ import annotations

from dataclasses import replace

from holdfast.predictions.columns import Columns, first_line
from holdfast.predictions.layout import Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading

COLUMNS = {"id": "question_id", "prediction": "text", "question": "prompt", "task": "task"}


def fits(look: Look) -> bool:
    """``question_id`` and ``text`` beside what only LLaVA writes; its MMBench rounds are the benchmark's own."""
    return look.has("question_id text", "answer_id model_id prompt", {"round_id", "prediction", "label", "references"})


def read(look: Look, ask: Ask) -> Reading:
    """Answers by id. Of MME and TextVQA ``question_id`` is the image, so several questions bear it; then every item is
    known by its image and its question, and the image is its cluster."""
    columns = Columns(COLUMNS, file=look.path, scale=ask.scale)
    rows = list(columns.predictions(look.rows()))
    if len({row.id for row in rows}) < len(rows):
        rows = [replace(row, id=f"{row.id} | {first_line(row.question)}", image=row.id) for row in rows]
    return reading_of(look, "LLaVA answer file", rows)


LAYOUTS = (Layout("LLaVA answer file", fits, read),)

"""MMBench: the benchmark's table, and LLaVA's rounds, one row a rotation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase

from holdfast.errors import HoldfastError
from holdfast.files import Record
from holdfast.predictions.columns import as_id, as_index, as_text
from holdfast.predictions.gold import Gold, gold_of, inside
from holdfast.predictions.layout import Benchmark, Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import TURN, Prediction
from holdfast.tasks.preparing.table import TableRow, choice, table_rows

_LETTERS = "option_char"


def fits(look: Look) -> bool:
    """Rows with a round."""
    return look.has("question_id round_id text")


def read(look: Look, ask: Ask) -> Reading:
    """LLaVA's rounds: the options are rotated already, ``option_char`` names their letters in the table."""
    return reading_of(look, "MMBench rounds of LLaVA", (_round(look, row) for row in look.rows()))


def _round(look: Look, row: Record) -> Prediction:
    values = row.values
    base = as_id(values.get("question_id"), "question_id", look.path, row.line)
    turn = values.get("round_id")
    number = as_index(base)
    if not isinstance(turn, int) or number is None:
        raise HoldfastError("the row has no number of a question or a round", file=look.path, line=row.line, item=base)
    return Prediction(
        str(number + turn * TURN),
        as_text(values.get("text"), "text", look.path, row.line, base),
        question=str(values.get("prompt") or ""),
        image=base,
        choices=tuple(map(str, values.get("options") or ())),
        extra={_LETTERS: values.get(_LETTERS) or ascii_uppercase},
        line=row.line,
    )


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """The benchmark's TSV; for LLaVA's rounds its questions with their options rotated as they were asked."""
    file = inside(place, "*.tsv*", "*.csv*", "*.json*")
    table = gold_of(file, map(_reference, table_rows(file)))
    if not any(_LETTERS in one.extra for one in said):
        return Gold(file, table)
    items = dict(_rotated(said, table))
    answered = {str(int(key) % TURN) for key in items}
    return Gold(file, {**{key: table[key] for key in sorted(table.keys() - answered)}, **items})


def _reference(row: TableRow) -> Prediction:
    index = as_index(row.item)
    return choice(row).reference(image="" if index is None else str(index % TURN), line=row.line)


def _rotated(said: Sequence[Prediction], table: Mapping[str, Prediction]) -> Iterator[tuple[str, Prediction]]:
    for one in said:
        item = table.get(str(int(one.id) % TURN))
        if item is None:
            continue  # pairing says that the id is not in the table
        letters = list(one.extra.get(_LETTERS, ascii_uppercase))
        index = letters.index(item.references[0]) if item.references[0] in letters else len(letters)
        choices = one.choices or item.choices
        yield one.id, replace(item, id=one.id, choices=choices, extra={**item.extra, "answer_index": index})


BENCHMARK = Benchmark(
    metrics=dict.fromkeys(("mmbench", "mmbench_cn", "mmbench_v11", "mmbench_cn_v11", "ccbench"), "mmbench"),
    layouts=(Layout("MMBench rounds of LLaVA", fits, read),),
    gold=references,
)

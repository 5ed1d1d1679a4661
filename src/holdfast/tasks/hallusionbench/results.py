"""HallusionBench: the official list of questions with a model's answer, and once judged with the judge's verdict."""

from __future__ import annotations

from pathlib import Path

from holdfast.files import Record, records
from holdfast.predictions.columns import as_id, as_text
from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark, items_layout
from holdfast.predictions.record import Prediction
from holdfast.tasks.hallusionbench.metric import PLACE

_SAID, _CHECK = "model_prediction", "gpt4v_output_gpt_check"


def _item(row: Record, file: Path) -> Prediction:
    """An item by the fields that tell where it stands; a file with the judge's verdicts needs no references."""
    values = row.values
    place = {name: as_id(values.get(name), name, file, row.line) for name in PLACE}
    key = "_".join(place.values())
    gold, check = values.get("gt_answer"), values.get(_CHECK)
    if gold is None and check is not None:
        gold = values.get("gt_answer_details")
    more = {"visual_input": values.get("visual_input"), "check": check, "same": values.get("same")}
    figure = "_".join(place[name] for name in PLACE[:-1])
    return Prediction(
        key,
        as_text(values.get(_SAID), _SAID, file, row.line, key),
        () if gold is None else (str(gold),),
        question=str(values.get("question", "")),
        image=str(values.get("filename") or figure),
        extra={**place, **{name: value for name, value in more.items() if value is not None}},
        line=row.line,
    )


BENCHMARK = Benchmark(
    metrics={"hallusionbench": "hallusionbench"},
    layouts=(items_layout("HallusionBench results", " ".join((*PLACE, _SAID)), _item, "hallusionbench"),),
    gold=gold_in("HallusionBench.json", items=lambda file: (_item(row, file) for row in records(file))),
)

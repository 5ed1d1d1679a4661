"""GQA: the questions file, and predictions as the official script or LLaVA writes them."""

from __future__ import annotations

from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark
from holdfast.tasks.gqa.download import draft
from holdfast.tasks.preparing.source import read_objects

BENCHMARK = Benchmark(
    metrics={"gqa": "gqa"},
    gold=gold_in(
        *("testdev_balanced_questions.json*", "*questions.json*"),
        items=lambda file: (draft(record).reference() for record in read_objects(file).values()),
    ),
)

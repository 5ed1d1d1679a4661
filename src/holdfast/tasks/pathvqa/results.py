"""PathVQA: plain records; the official script reads no layout of its own."""

from __future__ import annotations

from holdfast.predictions.layout import Benchmark

BENCHMARK = Benchmark(metrics={"pathvqa": "pathvqa"})

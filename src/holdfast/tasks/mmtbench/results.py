"""MMT-Bench: tables of VLMEvalKit and samples of lmms-eval hold what is judged."""

from __future__ import annotations

from holdfast.predictions.layout import Benchmark

BENCHMARK = Benchmark(metrics={"mmtbench": "mmtbench", "mmtbench_mi": "mmtbench"})

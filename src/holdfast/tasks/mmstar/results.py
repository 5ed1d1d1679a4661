"""MMStar: tables of the official evaluation, of VLMEvalKit and of lmms-eval hold what is judged."""

from __future__ import annotations

from holdfast.predictions.layout import Benchmark

BENCHMARK = Benchmark(metrics={"mmstar": "mmstar"})

"""Birds: ``[{bird_id, guess}]`` as the official script writes it, against ``[{id, answer}]``."""

from __future__ import annotations

from holdfast.predictions.layout import Benchmark, rows_layout

RESULTS = rows_layout("Birds results", "bird_id guess", {"id": "bird_id", "prediction": "guess"})
BENCHMARK = Benchmark(metrics={"birds": "exact_match"}, layouts=(RESULTS,))

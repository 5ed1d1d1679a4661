"""A small sample of ``benchmarks/faults.py``: processes started together and a run killed at a random moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = "--rounds 1 --processes 2 --kills 1 --times 1 --caches off --steps 2 --studies 1 --json"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")
def test_nothing_is_lost_or_said_wrongly() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "faults.py"), *SAMPLE.split()],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    counts = report["counts"]
    assert counts["folders"] == counts["cache"] == {"finished": 2, "left unfinished": 0}
    # Whether the second comes while the first works or after it is the system's choice.
    assert counts["folder"]["finished"] + counts["folder"].get("refused", 0) == 2
    assert counts["folder"]["finished"] >= 1 and counts["folder"]["left unfinished"] == 0
    assert counts["kills"]["the same bytes"] == 1
    assert counts["studies"]["the same bytes"] == 1

"""A small sample of ``benchmarks/faults.py``: processes started together and a run killed at random moments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")
def test_nothing_is_lost_or_said_wrongly() -> None:
    words = ["--rounds", "1", "--processes", "3", "--kills", "1", "--steps", "3", "--kinds", "folders,folder", "--json"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "faults.py"), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    counts = report["counts"]
    assert counts["folders"] == {"finished": 3, "left unfinished": 0}
    assert counts["folder"]["finished"] >= 1 and counts["folder"]["finished"] + counts["folder"].get("refused", 0) == 3
    assert counts["kills"]["the same bytes"] == 1

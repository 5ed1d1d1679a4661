"""The measured peak is the training's own: what went before does not count, and what cannot be known is None."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells")

CODE = """
import sys, json
import numpy as np
from torch import nn
from holdfast.training import peak

MB = 1 << 20
model = nn.Linear(1024, 1024, bias=False)  # 4 MB
if sys.argv[1] == "ours":
    peak.process_is_ours()

def take(megabytes):
    return np.ones(megabytes * MB, dtype=np.uint8).sum()

def measure(megabytes):
    found = peak.PeakMemory(model)
    kept = np.ones(40 * MB, dtype=np.uint8)  # what a method keeps beside the model; too large for the heap
    with found:
        take(megabytes)
    return found.bytes

start, first = measure(100), measure(200)
take(400)
print(json.dumps([start, first, measure(100), measure(0), measure(600)]))
"""


def measured(kind: str) -> list[float | None]:
    """Megabytes for 100 at first, for 200, for 100 after 400 in between, for none, and for 600; in a process."""
    done = subprocess.run([sys.executable, "-c", CODE, kind], capture_output=True, text=True, check=True)
    return [None if size is None else size / (1 << 20) for size in json.loads(done.stdout)]


def test_a_worker_measures_every_training_by_itself() -> None:
    start, first, after, none, largest = measured("ours")
    assert start is None  # libraries may have been set up in it
    assert [first, after, none, largest] == pytest.approx([244, 144, 44, 644], abs=12)


def test_elsewhere_only_a_new_high_counts() -> None:
    start, first, after, none, largest = measured("another's")
    assert start is None and first == pytest.approx(244, abs=12)
    assert after is None and none is None
    assert largest == pytest.approx(644, abs=12)

"""Shared fixtures: tiny models, the gold folder where it is present, and quiet libraries."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("COLUMNS", "80")
if "HOLDFAST_CACHE" not in os.environ:  # stored features of tests never reach the home folder
    os.environ["HOLDFAST_CACHE"] = tempfile.mkdtemp(prefix="holdfast-features-")
    atexit.register(shutil.rmtree, os.environ["HOLDFAST_CACHE"], ignore_errors=True)

import pytest

GOLD = Path(__file__).resolve().parents[2] / "shared" / "gold"


@pytest.fixture
def gold() -> Path:
    """Third-party data with known scores; tests that need it are skipped where it is absent."""
    if not GOLD.is_dir():
        pytest.skip("the gold folder is absent")
    return GOLD


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LLaVA of 50,000 parameters as a model folder."""
    from tests.tiny import save_llava

    return save_llava(tmp_path_factory.mktemp("models") / "tiny")

"""Shared fixtures: tiny models, the gold folder where it is present, and quiet libraries."""

from __future__ import annotations

import atexit
import copy
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("COLUMNS", "80")
if "HOLDFAST_CACHE" not in os.environ:  # stored features of tests never reach the home folder
    os.environ["HOLDFAST_CACHE"] = tempfile.mkdtemp(prefix="holdfast-features-")
    atexit.register(shutil.rmtree, os.environ["HOLDFAST_CACHE"], ignore_errors=True)

import pytest

if TYPE_CHECKING:
    from holdfast.models.loading import Loaded

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
    from tests.support.tiny import save_llava

    return save_llava(tmp_path_factory.mktemp("models") / "tiny")


_KITS: dict[str, Loaded] = {}


@pytest.fixture
def kit(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Loaded]:
    """``kit(family)``: a tiny random model with its real processor in float32, a fresh copy each time."""
    from holdfast.models.anatomy import resolve_anatomy
    from holdfast.models.loading import Loaded, load_model
    from tests.support.processors import save
    from tests.support.tiny import ROLES

    def get(family: str) -> Loaded:
        if family not in _KITS:
            _KITS[family] = load_model(str(save(tmp_path_factory.mktemp(family), family, ROLES)), device="cpu")
        kept = _KITS[family]
        model = copy.deepcopy(kept.model)
        return Loaded(kept.name, model, kept.chat, resolve_anatomy(model))

    return get

"""Shared fixtures: tiny models, the gold folder where it is present, and quiet libraries."""

from __future__ import annotations

import atexit
import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Before torch, and without regard to what a shell, a CI service or a terminal has set: tests mean the same everywhere.
# (scripts/portability stands in for other machines by settings of torch's own, which are left alone.)
os.environ |= {"OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1", "COLUMNS": "80"}
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores; more is as right and slower
for _name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "MKL_NUM_THREADS", "MKL_CBWR"):
    os.environ.pop(_name, None)
if "PYTEST_XDIST_WORKER" not in os.environ:  # stored features of tests never reach the home folder
    os.environ["HOLDFAST_CACHE"] = tempfile.mkdtemp(prefix="holdfast-features-")
    atexit.register(shutil.rmtree, os.environ["HOLDFAST_CACHE"], ignore_errors=True)

import pytest  # noqa: E402

from holdfast.machine import ask_for_same_bits  # noqa: E402 - before anything brings torch

# Where Holdfast is installed, pytest has imported it for its plugin already, and what that set was taken away above.
ask_for_same_bits()

if TYPE_CHECKING:
    from holdfast.models.loading import Loaded


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The whole contract takes half an hour; it runs when it is asked for."""
    if "contract" not in str(config.option.markexpr):
        whole = [item for item in items if item.get_closest_marker("contract")]
        config.hook.pytest_deselected(items=whole)
        items[:] = [item for item in items if not item.get_closest_marker("contract")]


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


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums are added in one order only if as many threads add them here as in other processes or runs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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

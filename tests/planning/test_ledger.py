"""A plan counts what a real run counts, for every method, on a model that is small enough to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.methods.ledger import write_ledger
from holdfast.methods.recipe import Recipe
from holdfast.methods.registry import METHODS as REGISTRY
from holdfast.methods.registry import STABILISERS, make_stabiliser
from holdfast.planning.meta import sketch_model
from holdfast.planning.plan import make_plan, prepare
from tests.support.families import build
from tests.support.methods import METHODS, run, tune_section

VALUES_FIRST = {"boft", "eva", "adamss", "frod", "shira", "unilora"}
"""PEFT builds permutations, clusters, bases or places from values, which the meta device does not have."""


TOLD_BY_VALUES = {"corda", "milora", "olora", "pissa", "pst", "vblora", "waveft"}
"""Whether factors start at zero, or which single entries change, values tell: a plan lets every stabiliser pass."""


def refusal(stabiliser: str, recipe: Recipe) -> str | None:
    """Why a stabiliser does not go with an attached recipe, if it does not."""
    try:
        make_stabiliser(stabiliser, {}).check(recipe.parts)
    except HoldfastError as error:
        return str(error)
    except RuntimeError:
        return None  # what was asked for needs values
    return None


@pytest.mark.parametrize("method", METHODS)
def test_the_plan_is_the_ledger_of_the_run(method: str, tiny_llava: Path) -> None:
    tune = tune_section(method)
    config = load_config({"model": str(tiny_llava), "tune": tune})
    if method in VALUES_FIRST:
        with pytest.raises(HoldfastError, match="cannot be planned from shapes"):
            make_plan(config)
        return
    paper = prepare(config, batch=None, length=None, images=1, answer=8, precision="fp32")
    planned = paper.ledger
    trained = run(tiny_llava, tune, steps=0)
    for name in STABILISERS.names():
        said, known = refusal(name, paper.recipe), refusal(name, trained.recipe)
        assert said == known or (said is None and method in TOLD_BY_VALUES), name
    real = write_ledger(trained.recipe, trained.loaded.anatomy)
    assert (planned.trainable, planned.added, planned.base) == (real.trainable, real.added, real.base)
    for mine, theirs in zip(planned.rows, real.rows, strict=True):
        assert (mine.component, mine.method, mine.trainable, mine.total, mine.lr, mine.checkpoint_bytes) == (
            theirs.component, theirs.method, theirs.trainable, theirs.total, theirs.lr, theirs.checkpoint_bytes,
        )  # fmt: skip


def test_every_method_is_tried_above() -> None:
    assert set(METHODS) == set(REGISTRY.names()) - {"frozen"}


@pytest.mark.parametrize("family", ["qwen2_5_vl", "llava_onevision", "idefics3", "paligemma", "internvl"])
def test_other_families_plan_from_their_own_configuration(family: str, tmp_path: Path) -> None:
    model = build(family)
    model.config.save_pretrained(tmp_path)
    plan = make_plan(
        load_config({"model": str(tmp_path), "tune": {"llm": {"method": "lora", "r": 2}, "connector": "full"}})
    )
    assert plan.ledger.base == sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
    assert plan.ledger.trainable > 0 and plan.memory.peak > 0 and plan.flops.backward > 0


def test_a_seven_billion_model_takes_seconds_and_no_memory() -> None:
    code = (
        "import sys; from holdfast.cli.main import run; "
        "code = run(['plan', '--model', 'llava-1.5-13b', '--method', 'lora', '--json']); "
        "print(open('/proc/self/status', encoding='utf-8').read().split('VmHWM:')[1].split()[0], file=sys.stderr); "
        "sys.exit(code)"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory of a process is read from /proc")
    source = str(Path(__file__).resolve().parents[2] / "src")
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert int(found.stderr.split()[-1]) * 1024 < 1.5e9


def test_a_sketch_holds_no_values() -> None:
    sketch = sketch_model("pocket", torch.float32)
    assert {p.device.type for p in sketch.model.parameters()} == {"meta"}

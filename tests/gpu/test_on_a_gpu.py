"""What a GPU must do as a processor does: ``pytest -m gpu``, skipped where there is none.

``HOLDFAST_GPU_TESTS=cpu`` runs the same code on a processor, to see that it runs before a GPU is paid for.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast import api
from holdfast.events import Event, StepDone

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() and os.environ.get("HOLDFAST_GPU_TESTS") != "cpu", reason="no CUDA device"
    ),
]
STEPS = 8
LORA = {"llm": {"method": "lora", "r": 8, "lr": 1e-3}}


def recipe(**changes: Any) -> dict[str, Any]:
    """The pocket model on a few scanned digits, in float32."""
    common: dict[str, Any] = {
        "model": "pocket",
        "tune": LORA,
        "target": {"data": "pocket:digits", "limit": 64, "test_limit": 24},
        "sources": [{"data": "pocket:color", "limit": 8, "test_limit": 24}],
        "train": {"steps": STEPS, "batch_size": 8, "precision": "fp32", "log_every": 1, "trackers": []},
        "evaluate": {"batch_size": 8, "max_new_tokens": 8},
        "seed": 1,
    }
    for name, value in changes.items():
        common[name] = {**common[name], **value} if isinstance(common.get(name), dict) and name != "tune" else value
    return common


def losses(out: Path, listen: Any = None, **changes: Any) -> list[float]:
    """The loss of every step of a run in ``out``."""
    seen: list[float] = []

    def noted(event: Event) -> None:
        if isinstance(event, StepDone):
            seen.append(event.loss)
        if listen is not None:
            listen(event)

    api.tune(recipe(**changes), out, listen=noted)
    return seen


def near(first: list[float], second: list[float], relative: float) -> bool:
    return len(first) == len(second) and all(
        math.isclose(a, b, rel_tol=relative, abs_tol=relative) for a, b in zip(first, second, strict=True)
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A finished run and its losses."""
    out = tmp_path_factory.mktemp("gpu") / "plain"
    return out, losses(out)


def test_it_runs_where_it_should_and_learns(plain: tuple[Path, list[float]]) -> None:
    out, found = plain
    where = json.dumps(json.loads((out / "environment.json").read_text("utf-8")))
    assert "cuda" in where or os.environ.get("HOLDFAST_GPU_TESTS") == "cpu"
    assert found[-1] < found[0]


def test_the_losses_are_those_of_a_processor(plain: tuple[Path, list[float]]) -> None:
    from holdfast.config.schema import RunConfig
    from holdfast.methods.recipe import Recipe
    from holdfast.models.loading import load_model
    from holdfast.runs.reading import read_tasks
    from holdfast.training.loop import Trainer
    from holdfast.training.pools import Pools

    config = RunConfig.model_validate(recipe())
    loaded, read = load_model("pocket", device="cpu"), Recipe(config)
    tasks = read_tasks(config, Path())
    assert tasks.target is not None
    pools = Pools(loaded, config.train, config.seed, tasks.target.train)
    read.attach(loaded, config.seed, pools, pools.loss)
    outcome = Trainer(loaded, read, config.train, tuple(tasks.target.train), (), seed=config.seed).fit()
    assert near(outcome.losses, plain[1], 1e-3)


def test_bfloat16_follows_float32(plain: tuple[Path, list[float]], tmp_path: Path) -> None:
    assert near(losses(tmp_path / "half", train={"precision": "bf16"}), plain[1], 0.05)


@pytest.mark.parametrize("switch", ["share_images", "feature_cache", "head"])
def test_speed_ups_change_nothing(switch: str, plain: tuple[Path, list[float]], tmp_path: Path) -> None:
    off = {"head": "full"}.get(switch, "off")
    assert near(losses(tmp_path / "off", speed={switch: off}), plain[1], 1e-4)


@pytest.mark.parametrize("method", ["full", "random_mask", "spider", "adapter", "prefix"])
def test_other_kinds_learn_and_put_the_base_back(method: str, tmp_path: Path) -> None:
    """The run itself compares every weight of the base, bit for bit, with what it was."""
    rate = {"prefix": 1e-2, "random_mask": 3e-3}.get(method, 1e-3)
    more = {"bottleneck": 8, "init": "identity"} if method == "adapter" else {}
    found = losses(tmp_path / method, tune={"llm": {"method": method, "lr": rate, **more}})
    assert min(found[-3:]) < found[0]


def test_lora_on_four_bits(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    found = losses(tmp_path / "packed", load={"bits": 4})
    assert found[-1] < found[0]
    assert api.load(tmp_path / "packed") is not None


def test_a_checkpoint_goes_on_where_it_stopped(plain: tuple[Path, list[float]], tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        losses(tmp_path / "run", stop, train={"checkpoint_every": 2})
    rest = losses(tmp_path / "run", train={"checkpoint_every": 2})
    assert len(rest) < STEPS and near(rest, plain[1][-len(rest) :], 1e-4)


def test_answers_do_not_depend_on_what_is_asked_together(plain: tuple[Path, list[float]], tmp_path: Path) -> None:
    """In float32 on one device; a last bit may turn one answer of the 48."""
    api.tune(recipe(evaluate={"batch_size": 1}, speed={"share_images": "off"}), tmp_path / "alone")
    turned = 0
    for file in sorted((plain[0] / "predictions").glob("*.jsonl")):
        together, alone = (
            {row["id"]: row["prediction"] for row in map(json.loads, place.read_text("utf-8").splitlines())}
            for place in (file, tmp_path / "alone" / "predictions" / file.name)
        )
        assert together.keys() == alone.keys()
        turned += sum(together[key] != alone[key] for key in together)
    assert turned <= 1

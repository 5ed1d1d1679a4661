"""Batches that other processes prepare: the same losses to the last bit, and the same manners."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.config.loading import load_config
from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.events import Event, StepDone, Validated
from holdfast.methods.recipe import Recipe
from holdfast.models import chat
from holdfast.models.loading import Loaded, load_model
from holdfast.speed.decision import Engaged
from holdfast.training.loop import Trainer
from tests.support.desk import Desk, picture
from tests.support.methods import SOURCES, artifacts_equal
from tests.support.questions import questions
from tests.support.together import shown

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are forked on Linux only")

ROOT = Path(__file__).resolve().parents[2]
LORA = {"llm": {"method": "lora", "r": 4, "alpha": 8, "dropout": 0.3, "lr": 1e-2}}
FROZEN_NO_MORE = {"connector": {"method": "full", "lr": 1e-2}} | LORA


def fit(
    loaded: Loaded,
    workers: int,
    *,
    speed: Any = None,
    keep: Any = (),
    tune: Any = None,
    data: Any = None,
    run: Path | None = None,
    stop_at: int | None = None,
    heard: list[Event] | None = None,
    **train: Any,
) -> tuple[list[float], Any, Trainer]:
    """Losses, artifact and trainer of a short run with dropout; ``stop_at`` interrupts it as Ctrl-C does."""
    settings = {"steps": 5, "batch_size": 3, "accumulate": 2, **train}
    told = {"workers": workers, **(speed or {})}
    config = load_config({"tune": tune or LORA, "keep": list(keep), "train": settings, "speed": told})
    recipe = Recipe(config)
    chosen: Any = data or questions(each=3)
    for stabiliser in recipe.stabilisers:
        chosen = stabiliser.mix(chosen, SOURCES, 0)
    recipe.attach(loaded, 0)
    report: dict[str, Any] = {}

    def listen(event: Event) -> None:
        if heard is not None:
            heard.append(event)
        if isinstance(event, Engaged):
            report.update(event.report)
        if isinstance(event, StepDone) and event.step == stop_at:
            raise KeyboardInterrupt

    trainer = Trainer(
        loaded, recipe, config.train, tuple(chosen), tuple(chosen[:3]), seed=5, run=run, listen=listen,
        speed=config.speed,
    )  # fmt: skip
    try:
        losses = trainer.fit().losses
    finally:
        assert trainer.coming._coming is None
    assert report["workers"].on == bool(workers)
    return losses, recipe.detach(), trainer


@pytest.mark.parametrize("share", ["on", "off"])
@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_5_vl", "internvl"])
def test_the_same_bits_with_workers(family: str, share: str, kit: Callable[[str], Loaded]) -> None:
    alone, others = (fit(kit(family), workers, speed={"share_images": share}) for workers in (0, 2))
    assert alone[0] == others[0]
    assert artifacts_equal(alone[1], others[1])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every picture that this process has opened."""
    found: list[int] = []
    original = chat.open_image
    monkeypatch.setattr(chat, "open_image", lambda source: found.append(1) or original(source))
    return found


def test_validation_says_the_same_and_opens_nothing_here_behind_its_first_batch(
    kit: Callable[[str], Loaded], opened: list[int]
) -> None:
    said: dict[int, list[Event]] = {}
    losses = {}
    for workers in (0, 2):
        heard: list[Event] = []
        data = [example for example in questions(each=3) if example.images]
        losses[workers], _, trainer = fit(
            kit("llava"), workers, data=data, speed={"share_images": "off"}, batch_size=1, evaluate_every=2, heard=heard
        )
        said[workers] = [event for event in heard if isinstance(event, Validated)]
        assert len(trainer.validation) == 3, "three batches of one question"
        opened.clear()
        trainer.validate()
        assert len(opened) == (1 if workers else 3)
        assert not multiprocessing.active_children()
    assert losses[0] == losses[2]
    assert len(said[2]) == 2 and said[2] == said[0]


def test_pictures_are_opened_by_workers_alone_behind_the_first_step(
    kit: Callable[[str], Loaded], opened: list[int]
) -> None:
    speed = {"share_images": "off"}
    fit(kit("llava"), 2, speed=speed, steps=2)
    few = len(opened)
    fit(kit("llava"), 2, speed=speed, steps=6)
    assert len(opened) == 2 * few, "four steps more open nothing here"
    fit(kit("llava"), 0, speed=speed, steps=6)
    assert len(opened) > 4 * few


@pytest.mark.parametrize("share", ["on", "off"])
@pytest.mark.parametrize("tune", [LORA, FROZEN_NO_MORE], ids=["behind the connector", "behind the tower"])
def test_stored_features_come_the_same_way_and_without_pixels(
    share: str, tune: Any, kit: Callable[[str], Loaded], tmp_path: Path
) -> None:
    speed = {"feature_cache": "on", "cache_dir": str(tmp_path), "share_images": share}
    alone, others = (fit(kit("llava"), workers, speed=speed, tune=tune) for workers in (0, 2))
    assert alone[0] == others[0]
    assert artifacts_equal(alone[1], others[1])
    prepared = [batch for step in range(5) for batch in others[2]._prepared(step)]
    assert not any(batch.images for batch in prepared) and any(batch.features for batch in prepared)


@pytest.mark.parametrize("keep", ["distillation", {"stabiliser": "replay", "ratio": 0.5}, "token_masking"], ids=str)
def test_what_is_kept_by_stabilisers_hears_nothing_of_workers(keep: Any, kit: Callable[[str], Loaded]) -> None:
    alone, others = (fit(kit("llava"), workers, keep=[keep], data=list(shown())) for workers in (0, 2))
    assert alone[0] == others[0]
    assert artifacts_equal(alone[1], others[1])


@pytest.mark.parametrize("order", [(2, 2), (0, 2), (2, 0)], ids=["with", "then with", "then without"])
def test_a_stopped_run_goes_on_with_any_number_of_workers(
    order: tuple[int, int], tiny_llava: Path, tmp_path: Path
) -> None:
    train = {"steps": 6, "checkpoint_every": 2}
    whole = fit(load_model(str(tiny_llava)), 0, **train)[1]
    with pytest.raises(KeyboardInterrupt):
        fit(load_model(str(tiny_llava)), order[0], run=tmp_path / "run", stop_at=3, **train)
    torch.manual_seed(12345)
    losses, artifact, _ = fit(load_model(str(tiny_llava)), order[1], run=tmp_path / "run", **train)
    assert len(losses) == 4, "it went on behind step 2"
    assert artifacts_equal(whole, artifact)


def test_a_step_that_runs_out_of_memory_is_prepared_anew(
    kit: Callable[[str], Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(workers: int) -> tuple[list[float], list[int]]:
        loaded, sizes = kit("llava"), []
        forward = loaded.model.forward

        def limited(*args: Any, **inputs: Any) -> Any:
            if loaded.model.training:
                sizes.append(len(inputs["input_ids"]))
                if len(sizes) >= 3 and sizes[-1] > 2:  # from the second step on
                    raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(*args, **inputs)

        monkeypatch.setattr(loaded.model, "forward", limited)
        return fit(loaded, workers, data=list(shown()), speed={"share_images": "off"}, accumulate=1, batch_size=4)[
            0
        ], sizes

    assert scarce(2) == scarce(0)
    assert scarce(2)[1][-2:] == [2, 2]


def test_a_picture_that_went_bad_is_named_with_its_item(kit: Callable[[str], Loaded], tmp_path: Path) -> None:
    data: list[Example] = []
    for index, example in enumerate(shown()):
        file = picture(tmp_path / f"{index}.png", index)
        data.append(replace(example, images=(file,), image_key=str(file)))

    (tmp_path / "0.png").write_bytes(b"no picture")

    def said(workers: int) -> str:
        with pytest.raises(HoldfastError) as caught:
            fit(kit("llava"), workers, data=data, steps=12, speed={"share_images": "off"})
        return str(caught.value)

    assert said(2) == said(0)
    assert said(2).startswith("item ") and ": '0.png' is not an image" in said(2)


@pytest.mark.parametrize("value", [-1, "many", 10000, 2.5, True])
def test_what_is_no_number_of_workers(value: Any) -> None:
    with pytest.raises(
        HoldfastError, match=r"'speed\.workers' is .*: it should be a whole number from 0 to 256, or auto"
    ):
        load_config({"speed": {"workers": value}})


def test_a_signal_to_the_whole_job_leaves_a_run_that_goes_on(tiny_llava: Path, tmp_path: Path) -> None:
    desk = Desk(tmp_path, tiny_llava, None)  # type: ignore[arg-type]
    desk.config(
        tune={"llm": {"method": "lora", "r": 2, "lr": 1e-2}},
        train={"steps": 100_000, "batch_size": 2, "trackers": [], "log_every": 1},
        speed={"workers": 2},
    )
    words = [sys.executable, "-m", "holdfast", "tune", "recipe.yaml", "--out", "run"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        words, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    log, limit = tmp_path / "run" / "train.jsonl", time.monotonic() + 120
    while not log.exists() or log.read_text("utf-8").count('"loss"') < 4:
        assert started.poll() is None and time.monotonic() < limit, started.communicate()
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGTERM)
    out, err = started.communicate(timeout=60)
    assert started.returncode == 143, err
    assert "Traceback" not in out + err and "the same command goes on where it stopped" in out
    assert (tmp_path / "run" / "checkpoint" / "progress.json").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(started.pid, 0)  # none of the group is left

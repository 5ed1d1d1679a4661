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
from holdfast.config.schema import Speed
from holdfast.data.examples import Example, Turn
from holdfast.events import Event, StepDone
from holdfast.models.loading import Loaded, load_model
from holdfast.speed.sharing.attention import in_two_pieces
from holdfast.speed.sharing.batcher import Batcher
from holdfast.speed.sharing.filling import Filling
from holdfast.training.loss import answer_loss
from tests.support.questions import questions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() and os.environ.get("HOLDFAST_GPU_TESTS") != "cpu", reason="no CUDA device"
    ),
]
STEPS = 8
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ALWAYS = Filling(token=math.inf, layers=1, padded=0.0)
LORA = {"llm": {"method": "lora", "r": 8, "lr": 1e-3, "dropout": 0.0}}
"""Without dropout, which a GPU draws unlike a processor, and for a part of a step unlike the whole."""


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


@pytest.mark.parametrize("switch", ["share_images", "feature_cache", "head", "workers"])
def test_speed_ups_change_nothing(switch: str, plain: tuple[Path, list[float]], tmp_path: Path) -> None:
    off = {"head": "full", "workers": 0}.get(switch, "off")
    assert near(losses(tmp_path / "off", speed={switch: off}), plain[1], 1e-4)


def test_workers_change_nothing_in_training_validation_and_answers(tmp_path: Path) -> None:
    """What they make is pinned and copied while the device computes: a copy that came late would be other numbers."""
    out = tmp_path / "by workers"
    both: dict[str, Any] = {"train": {"evaluate_every": 4}, "target": {"validation": 0.2}}
    found = losses(out, speed={"workers": 3}, **both)
    assert near(found, losses(tmp_path / "alone", speed={"workers": 0}, **both), 1e-4)
    engaged = json.loads((out / "environment.json").read_text("utf-8"))["engaged"]
    assert engaged["workers"]["on"], engaged
    assert all(who["tuned"]["workers"]["on"] for who in engaged["evaluation"].values()), engaged
    assert len(answers(out).items() - answers(tmp_path / "alone").items()) <= 1


def answers(run: Path) -> dict[tuple[str, str], str]:
    """Every answer of a run, by file and item."""
    found = {}
    for file in sorted((run / "predictions").glob("*.jsonl")):
        rows = map(json.loads, file.read_text("utf-8").splitlines())
        found |= {(file.name, row["id"]): row["prediction"] for row in rows if "prediction" in row}
    return found


def test_checkpointed_activations_are_the_same(plain: tuple[Path, list[float]], tmp_path: Path) -> None:
    assert near(losses(tmp_path / "again", train={"gradient_checkpointing": True}), plain[1], 1e-4)


def test_parts_of_a_step_that_did_not_fit_are_the_same_step(
    plain: tuple[Path, list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.training import loop

    failed: list[int] = []
    original = loop.answer_loss

    def scarce(model: Any, batch: Any, **how: Any) -> Any:
        if model.training and not failed:
            failed.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(model, batch, **how)

    monkeypatch.setattr(loop, "answer_loss", scarce)
    assert near(losses(tmp_path / "parts"), plain[1], 1e-4) and failed


def mixed() -> list[Example]:
    """Questions of the pocket model's words, as long as each other or ten times as long, each about another picture."""
    texts = ["what colour is the circle ?", "how many ? " * 12, "is there a square ?", "what is it ? " * 6]
    shown = [example for example in questions(pictures=4, each=1) if example.images]
    return [
        Example(f"m{n}", example.images, (Turn(text, ("red",)),), f"m{n}")
        for n, (example, text) in enumerate(zip(shown, texts, strict=True))
    ]


def loss_of(loaded: Loaded, batcher: Batcher) -> tuple[float, dict[str, torch.Tensor]]:
    loaded.model.zero_grad()
    loaded.model.requires_grad_(True)
    total = answer_loss(loaded.model, batcher(mixed())).total
    total.backward()
    found = {name: p.grad.float().clone() for name, p in loaded.model.named_parameters() if p.grad is not None}
    return float(total.detach()), found


def test_rows_behind_each_other_are_rows_apart() -> None:
    loaded = load_model("pocket", device=DEVICE, dtype=torch.float32)
    with in_two_pieces(loaded.model):
        filled = Batcher(loaded)
        filled.filling = ALWAYS
        assert filled.prepare(mixed()).text["input_ids"].shape[0] == 1
        (one, first), (other, second) = loss_of(loaded, filled), loss_of(loaded, Batcher(loaded))
    assert one == pytest.approx(other, rel=1e-4)
    largest = max(float(gradient.abs().max()) for gradient in second.values())
    assert all(float((gradient - second[name]).abs().max()) <= 1e-3 * largest for name, gradient in first.items())


@pytest.mark.skipif(DEVICE == "cpu", reason="flash-attn has no kernels for a CPU")
def test_the_varlen_kernels_see_the_pieces_that_the_mask_shows() -> None:
    pytest.importorskip("flash_attn")
    from holdfast.models.kernels import FLASH
    from holdfast.speed.policy import packed_training
    from holdfast.speed.sharing.varlen import attention_of, go_through

    loaded = load_model("pocket", device=DEVICE, dtype=torch.bfloat16)
    with in_two_pieces(loaded.model):
        mask = Batcher(loaded)
        mask.filling = ALWAYS
        other, second = loss_of(loaded, mask)
        told = Batcher(loaded)
        told.filling, decision = packed_training(told, Speed(packing="on"), lambda step: [mixed()], steps=40)
        assert told.by_boundaries and attention_of(loaded) == FLASH, decision.why
        one, first = loss_of(loaded, told)
        go_through(loaded, FLASH)
        apart, third = loss_of(loaded, Batcher(loaded))
    assert one == pytest.approx(other, rel=2e-2) and one == pytest.approx(apart, rel=2e-2)
    for name, gradient in first.items():
        largest = float(second[name].abs().max())
        assert float((gradient - second[name]).abs().max()) <= 0.1 * largest + 1e-3, name
        assert float((gradient - third[name]).abs().max()) <= 0.1 * largest + 1e-3, name


def test_a_conversation_answers_as_an_evaluation_does() -> None:
    from holdfast.inference.conversation import Conversation
    from holdfast.inference.generate import make_generator

    loaded = load_model("pocket", device=DEVICE, dtype=torch.float32)
    example = mixed()[0]
    heard: list[str] = []
    said = Conversation(loaded, limit=8).ask(example.question, example.images, hear=heard.append)
    ask = make_generator(loaded, [example], 8, speed=Speed(), batch_size=1)
    assert said == ask([example])[0][0]
    assert "".join(heard).strip() == said


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

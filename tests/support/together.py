"""Recipes trained by several processes: run in each of them, it writes the losses that the first one sees.

``python -m tests.support.together MODEL OUT [NAME ...]`` trains the recipes below on a tiny model, all or some; where
accelerate was asked for FSDP2 or DeepSpeed, those that go with it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from holdfast import api, ranks
from holdfast.config.loading import load_config
from holdfast.data.examples import Example, Turn
from holdfast.events import Event, StepDone
from holdfast.methods.guard import check_restored, look_at
from holdfast.methods.recipe import Recipe
from holdfast.models.loading import load_model
from holdfast.training.loop import Trainer
from tests.support.desk import Desk
from tests.support.methods import SOURCES, Pools, examples

ROOT = Path(__file__).resolve().parents[2]

LORA = {"llm": {"method": "lora", "r": 4, "alpha": 8, "lr": 1e-2, "dropout": 0.0}}
FULL = {"llm": {"method": "full", "lr": 1e-3}}

RECIPES: dict[str, dict[str, Any]] = {
    "full": {"tune": FULL},
    "lora": {"tune": LORA},
    "adapter": {"tune": {"llm": {"method": "adapter", "bottleneck": 8, "lr": 1e-2, "dropout": 0.0}}},
    "prefix": {"tune": {"llm": {"method": "prefix", "tokens": 4, "lr": 1e-2}}},
    "sparse": {"tune": {"llm": {"method": "gradient_mask", "ratio": 0.1, "lr": 1e-3}}},
    "reselecting": {"tune": {"llm": {"method": "fish_dip", "every": 4, "ratio": 0.1, "lr": 1e-3}}},
    "spider": {"tune": {"llm": {"method": "spider", "lr": 1e-3}}},
    "vision": {"tune": {"vision": {"method": "full", "lr": 1e-3}, "connector": {"method": "full", "lr": 1e-3}}},
    "distillation": {"tune": FULL, "keep": ["distillation"]},
    "distance": {"tune": FULL, "keep": [{"stabiliser": "l2_sp", "strength": 0.1}]},
    "prograd": {"tune": FULL, "keep": ["prograd"]},
    "replay": {"tune": LORA, "keep": [{"stabiliser": "replay", "ratio": 0.3}]},
    "ahead": {"tune": LORA, "speed": {"workers": 2}},
    "accumulated": {"tune": LORA, "train": {"accumulate": 3, "batch_size": 3}},
}
"""What is to give the same curve whatever the number of processes."""

SHARDED: dict[str, dict[str, Any]] = {
    **{name: RECIPES[name] for name in ("full", "lora", "sparse", "accumulated")},
    "connector": {
        "tune": {"llm": {"method": "layers", "layers": "last:1", "lr": 1e-3}, "connector": {"method": "full"}}
    },
    "dora": {"tune": {"llm": {**LORA["llm"], "method": "dora"}}},
    "moslora": {"tune": {"llm": {"method": "moslora", "r": 4, "lr": 1e-2}}, "keep": RECIPES["replay"]["keep"]},
    "several": {
        "tune": {
            "llm": [
                {"method": "random_mask", "modules": ["attention"], "ratio": 0.1, "lr": 1e-3},
                {"method": "lora", "modules": ["mlp"], "r": 4, "alpha": 8, "lr": 1e-2, "dropout": 0.0},
            ]
        }
    },
    "checkpointing": {"tune": FULL, "train": {"gradient_checkpointing": True, "clip": 0.05}},
}
"""The same, of what trains while FSDP2 divides the llm's blocks."""

ZEROED = {name: SHARDED[name] for name in ("full", "lora", "sparse", "accumulated", "connector")}
"""The same, of what trains while DeepSpeed divides gradients and the optimizer's state."""

TRAIN = {"steps": 20, "batch_size": 6, "warmup": 0.1, "weight_decay": 0.01, "trackers": [], "precision": "fp32"}


def shown() -> tuple[Example, ...]:
    """Answers of very different lengths, several questions about some pictures, and text alone."""
    made = []
    for index, example in enumerate(examples(12)):
        picture = examples(12)[index - index % 3]
        answers = ("yes", "a rather long answer about the colour of it", "blue", "dark blue")
        turns = (Turn("what colour ?" + " and why ?" * (index % 4), (answers[index % 4],)),)
        images, key = ((), None) if index == 7 else (picture.images, picture.image_key)
        made.append(replace(example, images=images, image_key=key, turns=turns))
    return tuple(made)


HALFWAY = ("full", "sparse")
"""Recipes that are stopped behind step 10 by one number of processes and go on with another."""


class EndedHereError(Exception):
    """Training ends here, as if the process had been killed."""


def losses(model: Path, recipe: dict[str, Any]) -> list[float]:
    """The curve of one recipe, by the processes that are there."""
    return train(model, recipe)[0]


def train(
    model: Path, recipe: dict[str, Any], *, run: Path | None = None, stop: int | None = None
) -> tuple[list[float], dict[str, Tensor]]:
    """The curve of one recipe and what it leaves, by the processes that are there.

    Args:
        model: A folder.
        recipe: With steps of 20, unless it says otherwise.
        run: Where checkpoints are, and where one is taken up.
        stop: The step in which everything ends.

    Raises:
        HoldfastError: The base was not restored.
    """
    config = load_config({**recipe, "train": {**TRAIN, **recipe.get("train", {}), "checkpoint_every": 10}})
    loaded, made, chosen = load_model(str(model), device="cpu"), Recipe(config), shown()
    base = look_at(loaded, loaded.chat.encode(chosen[:1], with_answers=True))
    pools = Pools(loaded, config.train, 0, chosen, chosen, SOURCES)
    mixed = [*chosen]
    for stabiliser in made.stabilisers:
        mixed = stabiliser.mix(mixed, SOURCES, 0)
    made.attach(loaded, 0, pools, pools.loss)
    if config.train.gradient_checkpointing:
        loaded.model.activation_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == stop:
            raise EndedHereError

    trainer = Trainer(
        loaded, made, config.train, tuple(mixed), chosen[:5], seed=0, speed=config.speed, run=run, listen=listen
    )
    try:
        curve = trainer.fit().losses
    except EndedHereError:
        return [], {}
    artifacts = made.detach()
    if config.train.gradient_checkpointing:
        loaded.model.activation_checkpointing_disable()  # type: ignore[operator]
    check_restored(base, loaded)
    return curve, {f"{a.component}/{name}": tensor.clone() for a in artifacts for name, tensor in a.tensors.items()}


def environment(**more: str) -> dict[str, str]:
    """Of a process that is started with this tree's code."""
    paths = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}


def meeting() -> dict[str, str]:
    """How two processes find each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def by_two(model: Path, out: Path, *names: str, **asked: str) -> None:
    """Let two processes do :func:`work`.

    Args:
        model: A folder.
        out: Where losses go.
        names: Recipes; all, if none.
        asked: What accelerate would have put into their environment.
    """
    command, common = [sys.executable, "-m", "tests.support.together", str(model), str(out), *names], meeting() | asked
    ranked = [environment(RANK=rank, LOCAL_RANK=rank, **common) for rank in ("0", "1")]
    started = [subprocess.Popen(command, env=own) for own in ranked]
    assert [process.wait() for process in started] == [0, 0]


def folders(out: Path, name: str) -> tuple[Path, Path]:
    """Runs that one process and several have begun."""
    return out / f"alone-{name}", out / f"sharded-{name}"


SAME = 1e-6
"""Relative; gradients are added in another order."""

Trained = tuple[list[float], dict[str, Tensor]]


class Divided:
    """What one process and two, among which something is divided, make of the same recipes.

    Attributes:
        model: A folder.
        recipes: By name; two processes train all of them at once, one process each when it is asked for.
        out: Where the two leave what they make.
    """

    def __init__(self, model: Path, recipes: dict[str, dict[str, Any]], out: Path, **asked: str) -> None:
        self.model, self.recipes, self.out = model, recipes, out
        self._alone: dict[str, Trained] = {}
        for name in HALFWAY:
            train(model, recipes[name], run=folders(out, name)[0], stop=12)
        by_two(model, out / "two.json", **asked)
        self.curves: dict[str, list[float]] = json.loads((out / "two.json").read_text(encoding="utf-8"))

    def alone(self, name: str) -> Trained:
        """The losses of one process and what it leaves."""
        if name not in self._alone:
            self._alone[name] = train(self.model, self.recipes[name])
        return self._alone[name]

    def check_same(self, name: str) -> None:
        """Two processes have the losses and the tensors of one."""
        curve, tensors = self.alone(name)
        assert curve[-1] < curve[0]
        assert self.curves[name] == pytest.approx(curve, rel=SAME)
        left = load_file(self.out / "two.safetensors")
        own = {key.removeprefix(f"{name}/"): tensor for key, tensor in left.items() if key.startswith(f"{name}/")}
        assert own.keys() == tensors.keys()
        for key, tensor in tensors.items():
            # Adam divides by the root of a small number where a gradient is small, so single values are less alike.
            torch.testing.assert_close(own[key], tensor, rtol=1e-4, atol=2e-5, msg=key)

    def check_goes_on(self, name: str) -> None:
        """What one number of processes has begun another ends, from checkpoints of the same shapes."""
        curve, _ = self.alone(name)
        assert self.curves[f"{name} resumed"] == pytest.approx(curve[10:], rel=SAME)
        kept = [load_file(run / "checkpoint" / "tensors.safetensors") for run in folders(self.out, name)]
        one, two = ({key: (tensor.shape, tensor.dtype) for key, tensor in found.items()} for found in kept)
        assert one == two
        again, _ = train(self.model, self.recipes[name], run=folders(self.out, name)[1])
        assert again == pytest.approx(curve[10:], rel=SAME)


def check_under(configuration: str, place: Path, model: Path, **settings: Any) -> None:
    """``accelerate launch`` with one of our configurations makes the run that one process makes.

    Args:
        configuration: Its name in ``examples/accelerate``.
        place: An empty folder.
        model: A folder.
        settings: Of ``train`` beside those that every such run has.
    """
    desk = Desk(place, model, None)  # type: ignore[arg-type]
    train = {"steps": 4, "batch_size": 4, "trackers": [], "evaluate_every": 2, **settings}
    tune = {"llm": {"method": "lora", "r": 2, "alpha": 2, "dropout": 0.0, "lr": 1e-2}}
    recipe = desk.config(tune=tune, train=train, target={"data": "data.jsonl", "test": 0.4, "validation": 0.2})
    asked = ["--config_file", str(ROOT / "examples" / "accelerate" / configuration)]
    words = ["-m", "accelerate.commands.launch", *asked, "-m", "holdfast", "tune", str(recipe), "--out"]
    ended = subprocess.run(
        [sys.executable, *words, str(place / "two")], env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    api.tune(recipe, place / "one")
    logs = [(place / run / "train.jsonl").read_text(encoding="utf-8").splitlines() for run in ("one", "two")]
    one, two = (
        [{k: v for k, v in json.loads(line).items() if k in ("loss", "validation_loss", "norm")} for line in log]
        for log in logs
    )
    assert len(one) == 4 and [pytest.approx(line, rel=SAME) for line in one] == two
    for file in ("predictions/data.jsonl", "base/predictions/data.jsonl"):
        assert (place / "one" / file).read_bytes() == (place / "two" / file).read_bytes()
    found = [load_file(next((place / run / "artifact").rglob("*.safetensors"))) for run in ("one", "two")]
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-4, atol=1e-6)


def work(model: Path, out: Path, names: Sequence[str]) -> None:
    """Everything that several processes are asked for, into ``out`` and files beside it."""
    first = ranks.here().first
    curves, tensors = dict[str, list[float]](), dict[str, Tensor]()
    divided = {"FSDP": SHARDED, "DeepSpeed": ZEROED, "": RECIPES}[ranks.divided_by()]
    for name in names or divided:
        curves[name], left = train(model, divided[name])
        tensors |= {f"{name}/{key}": tensor for key, tensor in left.items()}
    for name in HALFWAY if ranks.divided_by() and not names else ():
        alone, together = folders(out.parent, name)
        curves[f"{name} resumed"], _ = train(model, SHARDED[name], run=alone)
        train(model, SHARDED[name], run=together, stop=12)
    if first:
        out.write_text(json.dumps(curves), encoding="utf-8")
        save_file(tensors, out.with_suffix(".safetensors"))
        out.with_suffix(".txt").write_text(ranks.division(), encoding="utf-8")


if __name__ == "__main__":
    ranks.join()
    work(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    ranks.leave()

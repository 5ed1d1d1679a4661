"""Two processes among which DeepSpeed divides gradients and moments give what one gives, and leave what one leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from holdfast import api
from holdfast.errors import HoldfastError
from holdfast.ranks import _refuse_zero
from tests.support.desk import Desk
from tests.support.together import HALFWAY, ROOT, ZEROED, by_two, environment, folders, meeting, train

SAME = 1e-6
"""Relative; gradients are added in another order."""

installed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is an extra")

Trained = tuple[list[float], dict[str, Tensor]]


@pytest.fixture(scope="module")
def place(tiny_llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make of every recipe; before them one process has begun some."""
    out = tmp_path_factory.mktemp("zero")
    for name in HALFWAY:
        train(tiny_llava, ZEROED[name], run=folders(out, name)[0], stop=12)
    by_two(tiny_llava, out / "two.json", ACCELERATE_USE_DEEPSPEED="true", ACCELERATE_DEEPSPEED_ZERO_STAGE="2")
    return out


@pytest.fixture(scope="module")
def alone(tiny_llava: Path) -> Callable[[str], Trained]:
    made: dict[str, Trained] = {}

    def trained(name: str) -> Trained:
        if name not in made:
            made[name] = train(tiny_llava, ZEROED[name])
        return made[name]

    return trained


@installed
@pytest.mark.parametrize("recipe", sorted(ZEROED))
def test_gradients_that_are_divided_give_the_losses_and_the_tensors_of_one(
    place: Path, alone: Callable[[str], Trained], recipe: str
) -> None:
    curve, tensors = alone(recipe)
    assert json.loads((place / "two.json").read_text(encoding="utf-8"))[recipe] == pytest.approx(curve, rel=SAME)
    left = load_file(place / "two.safetensors")
    own = {key.removeprefix(f"{recipe}/"): tensor for key, tensor in left.items() if key.startswith(f"{recipe}/")}
    assert own.keys() == tensors.keys()
    for name, tensor in tensors.items():
        # Adam divides by the root of a small number where a gradient is small, so single values are less alike.
        torch.testing.assert_close(own[name], tensor, rtol=1e-4, atol=2e-5, msg=name)


@installed
@pytest.mark.parametrize("recipe", HALFWAY)
def test_another_number_of_processes_goes_on(
    place: Path, alone: Callable[[str], Trained], tiny_llava: Path, recipe: str
) -> None:
    curve, _ = alone(recipe)
    two = json.loads((place / "two.json").read_text(encoding="utf-8"))[f"{recipe} resumed"]
    assert two == pytest.approx(curve[10:], rel=SAME)
    begun, halved = (load_file(one / "checkpoint" / "tensors.safetensors") for one in folders(place, recipe))
    assert {name: (t.shape, t.dtype) for name, t in begun.items()} == {n: (t.shape, t.dtype) for n, t in halved.items()}
    again, _ = train(tiny_llava, ZEROED[recipe], run=folders(place, recipe)[1])
    assert again == pytest.approx(curve[10:], rel=SAME)


@installed
def test_a_run_under_accelerates_configuration_is_that_of_one_process(tmp_path: Path, tiny_llava: Path) -> None:
    desk = Desk(tmp_path, tiny_llava, None)  # type: ignore[arg-type]
    settings = {"steps": 4, "batch_size": 4, "trackers": [], "evaluate_every": 2, "clip": 0.5}
    tune = {"llm": {"method": "lora", "r": 2, "alpha": 2, "dropout": 0.0, "lr": 1e-2}}
    recipe = desk.config(tune=tune, train=settings, target={"data": "data.jsonl", "test": 0.4, "validation": 0.2})
    asked = ["--config_file", str(ROOT / "examples" / "accelerate" / "zero2.yaml")]
    words = ["-m", "accelerate.commands.launch", *asked, "-m", "holdfast", "tune", str(recipe), "--out"]
    ended = subprocess.run(
        [sys.executable, *words, str(tmp_path / "two")], env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    api.tune(recipe, tmp_path / "one")
    logs = [(tmp_path / run / "train.jsonl").read_text(encoding="utf-8").splitlines() for run in ("one", "two")]
    one, two = (
        [{k: v for k, v in json.loads(line).items() if k in ("loss", "validation_loss", "norm")} for line in log]
        for log in logs
    )
    assert len(one) == 4 and [pytest.approx(line, rel=SAME) for line in one] == two
    for file in ("predictions/data.jsonl", "base/predictions/data.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def set_by_accelerate(settings: Path) -> dict[str, str]:
    """What ``accelerate launch`` puts into the environment of the processes that it starts."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import prepare_deepspeed_cmd_env

    words = ["--config_file", str(settings), "--main_process_port", "0", "-m", "holdfast"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    arguments.deepspeed_fields_from_accelerate_config = ""
    made = prepare_deepspeed_cmd_env(arguments)[1]
    return {name: value for name, value in made.items() if os.environ.get(name) != value and name != "PYTHONPATH"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"zero_stage: 2": "zero_stage: 3"}, "zero_stage: 3, and here DeepSpeed does ZeRO-2.*distributed_type: FSDP"),
        ({"optimizer_device: none": "optimizer_device: cpu"}, "offload_optimizer_device: cpu, which is not done here"),
        ({"param_device: none": "param_device: nvme"}, "offload_param_device: nvme, which is not done here"),
    ],
)
def test_what_deepspeed_does_not_do_here_is_refused_before_anything_is_loaded(
    changed: dict[str, str],
    says: str,
    tmp_path: Path,
    tiny_llava: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / "examples" / "accelerate" / "zero2.yaml").read_text(encoding="utf-8")
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "asked.yaml").write_text(text, encoding="utf-8")
    asked = set_by_accelerate(tmp_path / "asked.yaml")
    assert asked["ACCELERATE_USE_DEEPSPEED"] == "true"
    for name, value in {**asked, **meeting(), "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("holdfast.runs.shelf.Shelf.model", lambda *_: pytest.fail("the model was loaded"))
    desk = Desk(tmp_path, tiny_llava, capsys)
    said = desk.tune()
    assert said.code == 2
    lines = [line for line in said.err.splitlines() if line.strip()]
    assert len(lines) == 1 and "distributed_type: DEEPSPEED" in lines[0]
    with pytest.raises(HoldfastError, match=says):
        _refuse_zero()


@pytest.mark.parametrize(
    ("version", "says"), [(None, r"not installed.*holdfast\[deepspeed\]"), ("0.17.2", r"version 0.17.2 is too old")]
)
def test_deepspeed_that_is_missing_or_old_is_named(
    version: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    def found(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", found)
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(HoldfastError, match=says):
        _refuse_zero()


def test_a_configuration_of_deepspeeds_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", "ds.json")
    with pytest.raises(HoldfastError, match=r"deepspeed_config_file: ds.json, which is not done here.*zero_stage: 2"):
        _refuse_zero()

"""Two processes that divide the llm's blocks give what one process gives, and leave what one process leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from holdfast import api, ranks
from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.methods.recipe import Recipe
from holdfast.methods.selective.selection import Selected
from holdfast.ranks import ALONE, _refuse_sharding
from holdfast.training.sharding import check_sharded
from tests.support.desk import Desk
from tests.support.together import HALFWAY, ROOT, SHARDED, by_two, environment, folders, train

SAME = 1e-6
"""Relative; gradients are added in another order."""

Trained = tuple[list[float], dict[str, Tensor]]


@pytest.fixture(scope="module")
def place(tiny_llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make of every recipe; before them one process has begun some."""
    out = tmp_path_factory.mktemp("sharded")
    for name in HALFWAY:
        train(tiny_llava, SHARDED[name], run=folders(out, name)[0], stop=12)
    by_two(tiny_llava, out / "two.json", ACCELERATE_USE_FSDP="true", FSDP_VERSION="2")
    return out


@pytest.fixture(scope="module")
def alone(tiny_llava: Path) -> Callable[[str], Trained]:
    made: dict[str, Trained] = {}

    def trained(name: str) -> Trained:
        if name not in made:
            made[name] = train(tiny_llava, SHARDED[name])
        return made[name]

    return trained


@pytest.mark.parametrize("recipe", sorted(SHARDED))
def test_blocks_that_are_divided_give_the_losses_and_the_tensors_of_one(
    place: Path, alone: Callable[[str], Trained], recipe: str
) -> None:
    curve, tensors = alone(recipe)
    assert curve[-1] < curve[0]
    assert json.loads((place / "two.json").read_text(encoding="utf-8"))[recipe] == pytest.approx(curve, rel=SAME)
    left = load_file(place / "two.safetensors")
    own = {key.removeprefix(f"{recipe}/"): tensor for key, tensor in left.items() if key.startswith(f"{recipe}/")}
    assert own.keys() == tensors.keys()
    for name, tensor in tensors.items():
        # Adam divides by the root of a small number where a gradient is small, so single values are less alike.
        torch.testing.assert_close(own[name], tensor, rtol=1e-4, atol=2e-5, msg=name)


@pytest.mark.parametrize("recipe", HALFWAY)
def test_another_number_of_processes_goes_on(
    place: Path, alone: Callable[[str], Trained], tiny_llava: Path, recipe: str
) -> None:
    curve, _ = alone(recipe)
    two = json.loads((place / "two.json").read_text(encoding="utf-8"))[f"{recipe} resumed"]
    assert two == pytest.approx(curve[10:], rel=SAME)
    begun, halved = (load_file(one / "checkpoint" / "tensors.safetensors") for one in folders(place, recipe))
    assert {name: (t.shape, t.dtype) for name, t in begun.items()} == {n: (t.shape, t.dtype) for n, t in halved.items()}
    again, _ = train(tiny_llava, SHARDED[recipe], run=folders(place, recipe)[1])
    assert again == pytest.approx(curve[10:], rel=SAME)


def test_a_run_under_accelerates_configuration_is_that_of_one_process(tmp_path: Path, tiny_llava: Path) -> None:
    desk = Desk(tmp_path, tiny_llava, None)  # type: ignore[arg-type]
    settings = {"steps": 4, "batch_size": 4, "trackers": [], "evaluate_every": 2}
    tune = {"llm": {"method": "lora", "r": 2, "alpha": 2, "dropout": 0.0, "lr": 1e-2}}
    target = {"data": "data.jsonl", "test": 0.4, "validation": 0.2}
    recipe = desk.config(tune=tune, train=settings, target=target)
    launched = [
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        str(ROOT / "examples" / "accelerate" / "fsdp2.yaml"),
    ]
    words = [*launched, "-m", "holdfast", "tune", str(recipe), "--out", str(tmp_path / "two")]
    ended = subprocess.run([sys.executable, *words], env=environment(), capture_output=True, text=True)
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
    found = [load_file(next((tmp_path / run / "artifact").rglob("*.safetensors"))) for run in ("one", "two")]
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"FSDP_VERSION": "1"}, "version 1 of FSDP.*fsdp_version: 2"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params: true.*load.bits: 4"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "train.gradient_checkpointing: true"),
    ],
)
def test_settings_of_accelerate_that_would_be_passed_over_are_refused(
    asked: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", **asked}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HoldfastError, match=says):
        _refuse_sharding()


@pytest.mark.parametrize(
    ("recipe", "key", "says"),
    [
        ({"tune": {"llm": {"method": "pissa", "r": 2}}}, ("tune", "llm"), "method 'pissa' works on whole tensors"),
        ({"tune": {"llm": {"method": "spider"}}}, ("tune", "llm"), "method 'spider' works on whole"),
        ({"tune": {"llm": {"method": "fish_dip"}}}, ("tune", "llm"), "method 'fish_dip' works on whole"),
        (
            {"tune": {"llm": [{"method": "lora"}, {"method": "ia3"}]}},
            ("tune", "llm", "1"),
            "method 'ia3' works on whole tensors",
        ),
        ({"tune": {"llm": "full"}, "keep": ["l2_sp"]}, ("keep", "0"), "stabiliser 'l2_sp' works on whole tensors"),
        ({"tune": {"llm": "lora"}, "load": {"bits": 4}}, ("load", "bits"), "packed weights of four or eight bits"),
        ({"tune": {"llm": "lora"}, "speed": {"compile": True}}, ("speed", "compile"), "compiled blocks"),
    ],
)
def test_what_needs_whole_tensors_is_refused(recipe: dict[str, object], key: tuple[str, ...], says: str) -> None:
    config = load_config(recipe)
    with pytest.raises(HoldfastError, match=says) as error:
        check_sharded(config, Recipe(config), {})
    assert ".".join(map(str, error.value.key)) == ".".join(key)


def test_a_refusal_comes_before_anything_is_loaded(
    tmp_path: Path, tiny_llava: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ranks, "_divided_by", "FSDP")
    desk = Desk(tmp_path, tiny_llava, capsys)
    monkeypatch.setattr("holdfast.runs.shelf.Shelf.model", lambda *_: pytest.fail("the model was loaded"))
    said = desk.tune(config=desk.config(tune={"llm": {"method": "prefix"}}))
    assert said.code == 2 and "method 'prefix' works on whole tensors" in said.err


def test_a_selection_of_a_part_trains_what_the_whole_one_would() -> None:
    values = torch.arange(20.0).reshape(5, 4)
    index = torch.tensor([0, 3, 7, 8, 11, 19])
    for rows, expected in ((range(8), [0, 3, 7]), (range(8, 20), [8, 11, 19]), (range(20, 20), [])):
        parameter = nn.Parameter(values.clone())
        entry = Selected(parameter, index)
        entry.divide(rows)
        parameter.data = values.flatten()[rows.start : rows.stop].clone()
        parameter.grad = 100 * parameter.detach()
        entry._gather(parameter)
        assert entry.values.grad is not None and entry.values.grad.tolist() == [100.0 * place for place in expected]
        entry.values.data += 0.5
        entry.scatter()
        changed = (parameter.detach() != values.flatten()[rows.start : rows.stop]).nonzero().flatten() + rows.start
        assert changed.tolist() == expected
        assert entry.state()["index"].tolist() == index.tolist()


def test_one_process_has_every_part() -> None:
    tensor = torch.arange(3.0)
    assert ALONE.joined(tensor, [3]) is tensor

"""Two processes that divide the llm's blocks give what one process gives, and leave what one process leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from holdfast import ranks
from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.launch import check_asked
from holdfast.methods.recipe import Recipe
from holdfast.methods.selective.selection import Selected
from holdfast.ranks import ALONE
from holdfast.training.sharding import check_sharded
from tests.support.desk import Desk
from tests.support.together import HALFWAY, SHARDED, Divided, check_under


@pytest.fixture(scope="module")
def divided(tiny_llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Divided:
    asked = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    return Divided(tiny_llava, SHARDED, tmp_path_factory.mktemp("sharded"), **asked)


@pytest.mark.parametrize("recipe", sorted(SHARDED))
def test_blocks_that_are_divided_give_the_losses_and_the_tensors_of_one(divided: Divided, recipe: str) -> None:
    divided.check_same(recipe)


@pytest.mark.parametrize("recipe", HALFWAY)
def test_another_number_of_processes_goes_on(divided: Divided, recipe: str) -> None:
    divided.check_goes_on(recipe)


def test_a_run_under_accelerates_configuration_is_that_of_one_process(tmp_path: Path, tiny_llava: Path) -> None:
    check_under("fsdp2.yaml", tmp_path, tiny_llava)


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
        check_asked()


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
    monkeypatch.setattr(ranks, "_asked_for", "FSDP")
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

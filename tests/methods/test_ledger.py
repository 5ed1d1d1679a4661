"""The ledger never lies: methods that do other than they say are stopped, with the names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Context
from holdfast.methods.ledger import check_moved, content, fingerprint
from holdfast.methods.registry import METHODS
from holdfast.methods.selective.masks import RandomMask
from holdfast.methods.selective.scopes import Full
from holdfast.models.anatomy import Component
from tests.support.methods import fresh, run


def _enter(name: str, kind: type[Any]) -> None:
    kind.card = Card(name=name, paradigm="selective", family="test", summary="misbehaves", paper="", year=None)
    METHODS.enter(kind)


class Wanders(Full):
    """Moves a weight of another component after each step."""

    def after_step(self, step: int) -> None:
        self.component.model.get_parameter("lm_head.weight").data[3, 2] += 1e-3


class Spills(RandomMask):
    """Moves one entry beside its selection."""

    def after_step(self, step: int) -> None:
        super().after_step(step)
        entry = next(iter(self.selected.values()))
        free = next(i for i in range(entry.parameter.numel()) if i not in set(entry.index.tolist()))
        entry.parameter.data.view(-1)[free] += 1e-4


class Hides(Full):
    """Says that it trains half of what it trains."""

    def named_trainable(self) -> dict[str, torch.nn.Parameter]:
        return dict(list(super().named_trainable().items())[:1])


class Asleep(Full):
    """Says that it trains what the loss does not reach."""

    def attach(self, component: Component, context: Context) -> None:
        super().attach(component, context)
        for parameter in self.chosen.values():
            parameter.requires_grad_(False)


@pytest.fixture
def misbehaving() -> Iterator[None]:
    kinds = {"wanders": Wanders, "spills": Spills, "hides": Hides, "asleep": Asleep}
    for name, kind in kinds.items():
        _enter(name, kind)
    yield
    for name in kinds:
        METHODS.leave(name)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("wanders", r"1 parameters moved that the ledger does not name: lm_head\.weight"),
        ("spills", r"1 parameters moved .*q_proj\.weight \(entries that were not selected\)"),
    ],
)
@pytest.mark.usefixtures("misbehaving")
def test_what_moves_beside_the_ledger_is_named(method: str, names: str, tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    before = fingerprint(loaded.anatomy)
    part = {"wanders": "connector", "spills": "llm"}[method]
    options = {"modules": ["q_proj"]} if method == "spills" else {}
    trained = run(tiny_llava, {part: {"method": method, **options}}, loaded=loaded, steps=2)
    with pytest.raises(HoldfastError, match=names):
        check_moved(before, trained.recipe, loaded.anatomy)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("hides", r"3 parameters have a gradient that the ledger does not name: model\.multi_modal_projector"),
        ("asleep", r"the loss does not reach component 'connector': none of its 4 trainable tensors"),
    ],
)
@pytest.mark.usefixtures("misbehaving")
def test_the_first_gradients_must_be_those_of_the_ledger(method: str, names: str, tiny_llava: Path) -> None:
    tune = {"connector": {"method": method}, "llm": {"method": "full"}}
    with pytest.raises(HoldfastError, match=names):
        run(tiny_llava, tune, steps=2)


@pytest.mark.usefixtures("misbehaving")
def test_a_run_stops_and_leaves_no_artifact(tiny_llava: Path, tmp_path: Path) -> None:
    from holdfast.api import tune

    config = {
        "model": str(tiny_llava),
        "tune": {"connector": "wanders"},
        "target": {"data": _data(tmp_path), "test": 0.25},
        "train": {"steps": 2, "batch_size": 2, "trackers": []},
    }
    with pytest.raises(HoldfastError, match=r"the ledger does not name: lm_head\.weight"):
        tune(config, tmp_path / "run")
    assert (tmp_path / "run" / "ledger.json").exists()
    assert not (tmp_path / "run" / "artifact").exists()


def _data(folder: Path) -> str:
    import json

    import numpy as np
    from PIL import Image

    rows = []
    for index in range(12):
        colour = [(220, 40, 40), (40, 40, 220)][index % 2]
        Image.fromarray(np.full((16, 16, 3), colour, np.uint8)).save(folder / f"{index}.png")
        rows.append({"id": str(index), "image": f"{index}.png", "question": "what colour ?",
                     "answer": ["red", "blue"][index % 2]})  # fmt: skip
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(folder / "data.jsonl")


def test_ledger_names_that_never_moved_are_listed(tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    before = fingerprint(loaded.anatomy)
    trained = run(tiny_llava, {"vision": {"method": "norms", "lr": 1e-2}}, loaded=loaded, steps=2)
    assert check_moved(before, trained.recipe, loaded.anatomy) == [
        "model.vision_tower.post_layernorm.bias", "model.vision_tower.post_layernorm.weight",
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int32])
def test_the_digest_sees_every_bit(dtype: torch.dtype) -> None:
    tensor = (torch.randn(7, 11, generator=torch.Generator().manual_seed(0)) * 100).to(dtype)
    whole = content(tensor)
    assert content(tensor.clone()) == whole
    assert content(tensor.view(11, 7)) != whole
    for place in range(tensor.numel()):
        changed = tensor.clone()
        bits = changed.view(-1).view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])
        bits[place] ^= 1
        assert content(changed) != whole
    swapped = tensor.clone().view(-1)
    swapped[[3, 40]] = swapped[[40, 3]]
    assert content(swapped.view(7, 11)) != whole


def test_the_digest_does_not_depend_on_slices_or_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.randn(1000).bfloat16()
    whole = content(tensor)
    assert content(tensor.float()) == whole
    monkeypatch.setattr("holdfast.methods.ledger._SLICE", 64)
    assert content(tensor) == whole

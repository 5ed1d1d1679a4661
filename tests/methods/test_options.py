"""Every option of a method beside the weights changes something or is refused; the cases come from the options."""

from __future__ import annotations

import typing
from typing import Any, Literal

import annotated_types
import pytest
import torch
from pydantic.fields import FieldInfo

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Method
from holdfast.methods.low_rank import LowRank
from holdfast.methods.peft_bridge import PeftMethod
from holdfast.methods.registry import FUSIONS, METHODS, STABILISERS, make_fusion, make_method, make_stabiliser
from holdfast.registry import Registry

from .test_low_rank import DECAY, LR, data, plain

SMALL: dict[str, dict[str, Any]] = {
    "melora": {"minis": 4, "dropout": 0.0},
    "oplora": {"keep": 3},
    "oft": {"block": 4},
    "fourierft": {"n": 9},
    "losparse": {"rank": 0.3, "keep": 0.5, "begin": 0.2, "every": 1},
    "pst": {"sparsity": 0.4, "begin": 0.2},
    "lorasculpt": {"warmup": 1, "conflict": ["first", "second"]},
    "adamss": {"r": 6, "subspaces": 2},
    "gralora": {"r": 4},
    "miss": {"r": 4},
    "road": {"group": 4},
    "c3a": {"block": 4},
    "waveft": {"n": 9},
    "supertuning": {"sparsity": 0.8, "r": None},
    "vblora": {"vectors": 6, "length": 4},
    "unilora": {"length": 20},
    "tinylora": {"values": 6},
    "frod": {"sparse_rate": 0.2},
    "beft": {"modules": ["first", "second"]},
    "prolora": {"r": 5, "unshared": 1, "chunks_in": 3, "chunks_out": 2, "dropout": 0.0},
    "pego": {"modules": ["all"]},
    "clora": {"k": 4},
    "loramoe": {"modules": ["all"], "dropout": 0.0},
    "teamlora": {"modules": ["all"]},
    "adalora": {"r": 6, "target": 2},
}
NEEDED: dict[tuple[str, str], dict[str, Any]] = {
    ("oft", "eps"): {"coft": True},
    ("lokr", "decompose_both"): {"r": 1},
    ("miss", "mini_r"): {"form": "mini", "mini_r": 1},
    ("supertuning", "alpha"): {"r": 2},
    ("supertuning", "dropout"): {"r": 2},
    ("vblora", "topk"): {"r": 3},
    ("lorasculpt", "conflict"): {"conflict": ["first", "second"]},
}
"""What else an option needs to have an effect."""

ELSEWHERE = {"modules", "layers", "share"}
"""What two linear layers of different names do not have; other tests try them."""

LOOKS = {"corda", "eva", "hiddenkey"}
"""These look at examples or attention; tests of their own try their options."""

APART = {("o_lora", "strength")}
"""Without earlier runs there is nothing that it could act on; another test gives it some."""

KINDS: dict[str, type[Method]] = {
    name: kind for name, kind in METHODS.all().items() if issubclass(kind, LowRank | PeftMethod) and name not in LOOKS
}


def small(name: str) -> dict[str, Any]:
    fields = KINDS[name].Settings.model_fields
    return ({"r": 2} if "r" in fields else {}) | SMALL.get(name, {})


def another(field: FieldInfo, now: Any) -> Any:
    """A value within the bounds that is not the one at hand."""
    kinds = {field.annotation, *typing.get_args(field.annotation)}
    if typing.get_origin(field.annotation) is Literal:
        return next(value for value in typing.get_args(field.annotation) if value != now)
    if bool in kinds:
        return not now
    below = [limit.lt for limit in field.metadata if isinstance(limit, annotated_types.Lt)]
    if float in kinds:
        return 0.5 if below else 2.0 * (now or 1.5)
    return now + 1 if isinstance(now, int) else ["second"]


CASES = [
    (name, option)
    for name, kind in KINDS.items()
    for option, field in kind.Settings.model_fields.items()
    if option not in ELSEWHERE and (name, option) not in APART and typing.get_args(field.annotation) != (True,)
]


def outcome(name: str, options: dict[str, Any]) -> torch.Tensor:
    """What the model answers after four steps of training."""
    component, method = plain(), make_method(name, options)
    method.attach(component, Context(torch.Generator().manual_seed(2), lr=LR))
    x, y = data()
    optimizer = torch.optim.AdamW(method.parameter_groups(LR, DECAY))
    method.steps = 4
    method.bind(optimizer)
    torch.manual_seed(3)
    component.model.train()
    for step in range(4):
        loss = (component.model(x) - y).square().mean()
        term = method.penalty(step)
        optimizer.zero_grad()
        if loss.requires_grad:  # not where every layer's change was dropped
            (loss if term is None else loss + term).backward()
            method.before_step(step)
            optimizer.step()
            method.after_step(step)
    component.model.eval()
    with torch.no_grad():
        answer: torch.Tensor = component.model(x)
    return answer


@pytest.mark.parametrize(("name", "option"), CASES)
def test_an_option_changes_something_or_is_refused(name: str, option: str) -> None:
    base = small(name) | NEEDED.get((name, option), {})
    field = KINDS[name].Settings.model_fields[option]
    value = another(field, base.get(option, field.default))
    before = outcome(name, base)
    assert torch.equal(outcome(name, base), before), "the same options give the same bits"
    try:
        after = outcome(name, base | {option: value})
    except HoldfastError:
        return
    assert not torch.equal(after, before), f"{option}: {value} does nothing"


REGISTRIES: tuple[Registry[Any], ...] = (METHODS, STABILISERS, FUSIONS)
NUMBERS = [
    (registry.kind, name, option)
    for registry in REGISTRIES
    for name, kind in registry.all().items()
    for option, field in kind.Settings.model_fields.items()
    if {int, float} & {field.annotation, *typing.get_args(field.annotation)}
    and str not in {field.annotation, *typing.get_args(field.annotation)}
]


def test_no_number_is_a_word_a_truth_or_beyond_all_bounds() -> None:
    """One sentence that names the option, for every option of every method, stabiliser and fusion that is a number."""
    make = {"method": make_method, "stabiliser": make_stabiliser, "fusion": make_fusion}
    assert len(NUMBERS) > 150
    for kind, name, option in NUMBERS:
        for value in ("two", True, float("nan"), [1]):
            with pytest.raises(HoldfastError, match=f"option '{option}' is ") as caught:
                make[kind](name, {option: value})
            assert len(str(caught.value)) < 500, (name, option)


@pytest.mark.parametrize("name", ["lora", "dora", "alphaedit", "spu", "spider", "full"])
def test_no_modules_at_all_are_no_choice(name: str) -> None:
    with pytest.raises(HoldfastError, match="modules"):
        make_method(name, {"modules": []})

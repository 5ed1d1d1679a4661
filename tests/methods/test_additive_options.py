"""Every option of an additive method changes something or is refused; the cases come from the options."""

from __future__ import annotations

import typing
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.peft_bridge import PeftMethod
from holdfast.methods.registry import METHODS, make_method
from holdfast.models.anatomy import resolve_anatomy
from tests.support.methods import SMALL

from .test_contract_families import kept, logits, mean, two_steps
from .test_options import another

KINDS = {
    name: kind
    for name, kind in METHODS.all().items()
    if kind.__module__.startswith("holdfast.methods.additive") and not issubclass(kind, PeftMethod)
}
NEEDED: dict[tuple[str, str], dict[str, Any]] = {}
"""What else an option needs to have an effect."""

VALUES: dict[tuple[str, str], Any] = {
    ("loreft", "positions"): "f1+l2",
    ("mores", "positions"): "f2",
    ("clip_adapter", "ratio"): 0.5,
    ("p_tuning", "hidden"): 7,
    ("maple", "depth"): 1,
    ("prompt_tuning", "text"): "two words",
}
"""Where another value is no matter of adding one."""

CASES = [
    (name, option)
    for name, kind in KINDS.items()
    for option, field in kind.Settings.model_fields.items()
    if typing.get_args(field.annotation) != (True,)
]


def outcome(name: str, options: dict[str, Any]) -> Tensor:
    return _outcome(name, tuple(sorted((key, str(value), value) for key, value in options.items())))


@cache
def _outcome(name: str, options: tuple[tuple[str, str, Any], ...]) -> Tensor:
    """What a tiny LLaVA answers after two steps of training."""
    import copy

    # The tower of this LLaVA is read in front of its last block.
    original, inputs = kept("gemma3" if KINDS[name].card.at == "vision" else "llava")
    model = copy.deepcopy(original)
    part = resolve_anatomy(model).component(KINDS[name].card.at)
    method = make_method(name, {key: value for key, _, value in options})
    context = Context(
        torch.Generator().manual_seed(2),
        lambda count, **_: iter([inputs] * min(count, 4)),
        mean(model),
        1e-2,
        lambda text, **_: {"input_ids": [60 + ord(letter) % 20 for letter in text]},
    )
    method.attach(part, context)
    torch.manual_seed(3)
    model.train()
    two_steps(method, model, inputs)
    return logits(model, inputs)


@pytest.mark.parametrize(("name", "option"), CASES)
def test_an_option_changes_something_or_is_refused(name: str, option: str) -> None:
    base = SMALL.get(name, {}) | NEEDED.get((name, option), {})
    field = KINDS[name].Settings.model_fields[option]
    value = VALUES.get((name, option), "first:1" if option == "layers" else None)
    value = another(field, base.get(option, field.default)) if value is None else value
    before = outcome(name, base)
    try:
        after = outcome(name, base | {option: value})
    except HoldfastError:
        return
    assert not torch.equal(after, before), f"{option}: {value} does nothing"


@pytest.mark.parametrize("name", KINDS)
def test_a_value_out_of_bounds_is_refused_in_one_sentence(name: str) -> None:
    for option, field in KINDS[name].Settings.model_fields.items():
        kinds = {field.annotation, *typing.get_args(field.annotation)}
        if not kinds & {int, float} or "words" in kinds:
            continue
        for wrong in (-1, "many", True):
            with pytest.raises(HoldfastError) as caught:
                make_method(name, {option: wrong})
            assert option in str(caught.value) and len(str(caught.value)) < 300

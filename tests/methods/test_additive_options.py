"""Every option of an additive method changes something or is refused; the cases come from the options."""

from __future__ import annotations

import copy
import typing
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

from .test_contract_families import kept, letters, logits, mean, two_steps
from .test_options import another

KINDS = {
    name: kind
    for name, kind in METHODS.all().items()
    if kind.__module__.startswith("holdfast.methods.additive") and not issubclass(kind, PeftMethod)
}
NEEDED: dict[tuple[str, str], dict[str, Any]] = {
    ("autoprompt", "batches"): {"candidates": 60},
}
"""What else an option needs to have an effect."""

VALUES: dict[tuple[str, str], Any] = {
    ("loreft", "positions"): "f1+l2",
    ("mores", "positions"): "f2",
    ("clip_adapter", "ratio"): 0.5,
    ("p_tuning", "hidden"): 7,
    ("maple", "depth"): 1,
    ("autoprompt", "candidates"): 80,
    ("lpaqa", "wordings"): ("what may it be", "or else"),
    ("prompt_tuning", "text"): "two words",
}
"""Where another value is no matter of adding one."""

ELSEWHERE = {("lpaqa", "batches")}
"""Three wordings seldom change places on another batch; its reference test counts the batches."""

CASES = [
    (name, option)
    for name, kind in KINDS.items()
    for option, field in kind.Settings.model_fields.items()
    if typing.get_args(field.annotation) != (True,) and (name, option) not in ELSEWHERE
]


_KNOWN: dict[tuple[str, str], Tensor] = {}


def outcome(name: str, options: dict[str, Any]) -> Tensor:
    """What a tiny model answers after two steps of training; the same question is computed once."""
    key = (name, repr(sorted(options.items())))
    if key not in _KNOWN:
        _KNOWN[key] = _outcome(name, options)
    return _KNOWN[key]


def _outcome(name: str, options: dict[str, Any]) -> Tensor:
    # The tower of this LLaVA is read in front of its last block.
    original, inputs = kept("gemma3" if KINDS[name].card.at == "vision" else "llava")
    model = copy.deepcopy(original)
    part = resolve_anatomy(model).component(KINDS[name].card.at)
    method = make_method(name, options)
    labels = inputs["labels"]
    other = inputs | {"labels": torch.where(labels < 0, labels, (labels + 90) % 250 + 40)}
    method.attach(
        part,
        Context(
            torch.Generator().manual_seed(2),
            lambda count, **_: iter([inputs, other][:count]),
            mean(model),
            1e-2,
            letters,
        ),
    )
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

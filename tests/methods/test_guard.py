"""What stays behind on a base is noticed, whatever kind of thing it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from holdfast.errors import HoldfastError
from holdfast.methods.guard import check_restored, look_at
from holdfast.models.loading import Loaded
from tests.support.methods import examples, fresh, run


class Doubled(nn.Module):
    """A wrapper as adapters are: the layer inside is the base's own object."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return 2 * self.inner(x)


def wrap(loaded: Loaded) -> None:
    loaded.model.lm_head = Doubled(loaded.model.lm_head)


def hook(loaded: Loaded) -> None:
    loaded.anatomy.llm.layers()[0][1].register_forward_hook(lambda *_: None)


def value(loaded: Loaded) -> None:
    next(iter(loaded.anatomy.llm.parameters.values())).data.view(-1)[0] += 1e-3


def setting(loaded: Loaded) -> None:
    """Neither a value nor a module: only the answers tell."""
    for module in loaded.model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 0.1  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (wrap, "module 'lm_head"),
        (hook, "1 hooks"),
        (value, "other values"),
        (setting, "answers a probe differently"),
    ],
)
def test_what_stays_behind_is_named(harm: Callable[[Loaded], None], words: str, tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    before = look_at(loaded, loaded.chat.encode(examples()[:1], with_answers=True))
    check_restored(before, loaded)
    harm(loaded)
    with pytest.raises(HoldfastError, match=f"the base was not restored.*{words}"):
        check_restored(before, loaded)


@pytest.mark.parametrize(
    "tune",
    [
        {"llm": {"method": "lora", "r": 4, "init": "gaussian", "use_rslora": True}},
        {"llm": {"method": "prefix", "tokens": 3}, "vision": {"method": "ia3"}, "connector": "full"},
    ],
    ids=["lora", "three"],
)
def test_after_a_recipe_the_base_is_the_base(tune: dict[str, Any], tiny_llava: Path) -> None:
    loaded = fresh(tiny_llava)
    before = look_at(loaded, loaded.chat.encode(examples()[:1], with_answers=True))
    run(tiny_llava, tune, loaded=loaded, steps=1).recipe.detach()
    check_restored(before, loaded)

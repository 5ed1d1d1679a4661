"""How the llm's blocks run while it trains: compiled where wanted, and without keys and values to keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from holdfast.models.anatomy import decoder_of


@contextmanager
def without_kv_cache(model: Any) -> Iterator[None]:
    """Inside, forward passes keep no keys and values for tokens that are never generated."""
    config = model.config.get_text_config()
    before = getattr(config, "use_cache", None)
    config.use_cache = False
    try:
        yield
    finally:
        config.use_cache = before


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of the llm, whatever was added to them."""
    lists = [module for module in decoder_of(model).modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=lambda blocks: sum(p.numel() for p in blocks.parameters()), default=()))


@contextmanager
def compiled(blocks: Sequence[nn.Module], wanted: bool) -> Iterator[None]:
    """Inside, the blocks are compiled one by one: alike as they are, one compilation serves them all."""
    if not wanted:
        yield
        return
    for block in blocks:
        block.compile()
    try:
        yield
    finally:
        for block in blocks:
            block._compiled_call_impl = None

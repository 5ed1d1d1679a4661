"""Rows behind each other without a mask: attention is told where each begins, and its kernels see no further.

transformers hands ``cu_seq_lens_q``, ``cu_seq_lens_k``, ``max_length_q`` and ``max_length_k`` through a model to its
attention function, which gives them to flash-attn's ``varlen`` kernels (its ``DataCollatorWithFlattening`` makes the
same four of plain texts). No square is computed, no mask made, and a row costs one call, whatever is in it; so a whole
batch is one row. Branches that share a beginning cannot be said in this way: they keep the block mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

from holdfast.models.batch import Boundaries
from holdfast.models.kernels import FLASH, no_flash
from holdfast.models.loading import Loaded
from holdfast.speed.decision import Decision
from holdfast.speed.sharing.attention import NAME as IN_PIECES


def boundaries(piece: Tensor) -> Boundaries:
    """Where the pieces of rows begin and end; padding at the end of a row is one of them.

    Args:
        piece: Which piece of its row each token belongs to, ``[rows, length]``; see :func:`.packing.pack`.
    """
    counts = torch.cat([row.unique_consecutive(return_counts=True)[1] for row in piece])
    return Boundaries(torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32), int(counts.max()))


def attention_of(loaded: Loaded) -> str:
    """The implementation that the llm's attention goes through now."""
    text = loaded.model.config.get_text_config()  # type: ignore[union-attr, operator]
    return str(text._attn_implementation)


def go_through(loaded: Loaded, attention: str) -> None:
    """Let the llm's attention go through another implementation from here on."""
    text = loaded.model.config.get_text_config()  # type: ignore[union-attr, operator]
    text._attn_implementation = attention


def tells_boundaries(loaded: Loaded) -> Decision:
    """Whether rows behind each other can go through kernels that are told where each begins."""
    now, device = attention_of(loaded), loaded.device
    if now not in (IN_PIECES, FLASH):
        return Decision(False, f"attention '{now}' takes a mask")
    missing = no_flash(device)
    if missing:
        return Decision(False, f"flash attention cannot be used: {missing}")
    if not getattr(loaded.model, "_supports_flash_attn", False):
        return Decision(False, f"{type(loaded.model).__name__} has no flash attention")
    half = (torch.float16, torch.bfloat16)
    if next(loaded.model.parameters()).dtype not in half and not torch.is_autocast_enabled(device.type):
        return Decision(False, "flash attention computes in half precision only")
    return Decision(True, "flash attention is told where each row begins")

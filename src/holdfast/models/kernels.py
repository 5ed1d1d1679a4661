"""Kernels of packages beside torch that attention may go through, and why they cannot be had."""

from __future__ import annotations

import torch

FLASH = "flash_attention_2"
"""What transformers calls the package flash-attn."""


def no_flash(device: torch.device | str, dtype: torch.dtype | None = None, *, fetched: bool = False) -> str:
    """Why attention on ``device`` cannot go through flash-attn, as a clause; empty where it can.

    Args:
        device: Where the model is.
        dtype: Of its weights, where nothing else says in which precision it computes.
        fetched: Kernels that transformers would fetch from the Hub through the package ``kernels`` count, too.
    """
    kind = torch.device(device).type
    if kind != "cuda":
        return f"its kernels need a CUDA device, and this is '{kind}'"
    from transformers.utils import is_flash_attn_2_available

    if not is_flash_attn_2_available(kernels_fallback_ok=fetched):
        return "the package flash-attn is not installed"
    if dtype == torch.float32:
        return "its kernels compute in half precision, and this run in float32"
    return ""

"""Tell that memory ran out, and give back what a failed try held."""

from __future__ import annotations

import torch


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says so: CUDA has a type for it, the CPU a sentence."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error))


def give_back() -> None:
    """Return what the failed try held to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

"""Tell models apart by their content, so that a delta is never laid over another base."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

WHOLE = 1 << 20
"""Tensors up to this many values are hashed whole; larger ones by shape and 2^16 evenly spaced values."""


def tensor_digest(tensor: torch.Tensor) -> bytes:
    """Digest of dtype, shape and content (sampled above :data:`WHOLE` values)."""
    flat = tensor.detach().reshape(-1)
    if flat.numel() > WHOLE:
        flat = flat[:: flat.numel() >> 16]
    digest = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    if flat.numel():
        digest.update(flat.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def model_identity(model: nn.Module) -> str:
    """Sixteen hexadecimal digits that stand for the weights of ``model``."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        digest.update(name.encode())
        digest.update(tensor_digest(tensor))
    return digest.hexdigest()[:16]

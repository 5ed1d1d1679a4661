"""Tell models apart by their content: what a delta is laid over, and whatever else an answer depends on."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn

from holdfast.models.chat import ChatProcessor
from holdfast.values import JSON

SAMPLED = 1 << 20
"""Older runs knew larger tensors by shape and 2^16 evenly spaced values; theirs are still recognised."""

_PASSING = ("transformers_version", "_from_model_config")


def tensor_digest(tensor: torch.Tensor, *, sampled: bool = False) -> bytes:
    """Digest of dtype, shape and every byte; ``sampled`` as older runs took it."""
    flat = tensor.detach().reshape(-1)
    if sampled and flat.numel() > SAMPLED:
        flat = flat[:: flat.numel() >> 16]
    digest = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    if flat.numel():
        digest.update(flat.contiguous().cpu().view(torch.uint8).numpy().data)
    return digest.digest()


def model_identity(model: nn.Module, *, sampled: bool = False) -> str:
    """Sixteen hexadecimal digits that stand for the weights of ``model``."""
    state = sorted(model.state_dict(keep_vars=True).items())
    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter's lock
        digests = pool.map(lambda item: tensor_digest(item[1], sampled=sampled), state)
        digest = hashlib.sha256()
        for (name, _), one in zip(state, digests, strict=True):
            digest.update(name.encode())
            digest.update(one)
    return digest.hexdigest()[:16]


def setup_parts(model: Any, chat: ChatProcessor) -> dict[str, str]:
    """What answers depend on beside weights and questions, by its name for people: sixteen digits each."""
    generation = getattr(model, "generation_config", None)
    settings = {} if generation is None else generation.to_dict()
    template = getattr(chat.processor, "chat_template", None) or chat.tokenizer.chat_template
    return {
        "processor settings": _digits(processor_facts(chat.processor)),
        "tokenizer": _digits(_tokenizer(chat.tokenizer)),
        "chat template": _digits(template),
        "generation settings": _digits({key: value for key, value in settings.items() if key not in _PASSING}),
    }


def joined(*parts: str) -> str:
    """Sixteen digits that stand for several."""
    return _digits(list(parts))


def processor_facts(found: Any) -> JSON:
    """Every setting of a processor and of its image part, the chat template and the tokenizer apart."""
    images = getattr(found, "image_processor", found)
    own = {key: value for key, value in vars(found).items() if isinstance(value, bool | int | float | str | list)}
    own.pop("chat_template", None)
    return {
        "class": type(found).__name__,
        "settings": own,
        "images": images.to_dict() if hasattr(images, "to_dict") else type(images).__name__,
    }


def _tokenizer(tokenizer: Any) -> JSON:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    core = {"vocabulary": tokenizer.get_vocab()} if backend is None else json.loads(backend.to_str())
    for passing in ("padding", "truncation"):  # as the last call left them
        core.pop(passing, None)
    marks = {name: str(getattr(tokenizer, f"{name}_token", None)) for name in ("bos", "eos", "pad", "unk")}
    return {"class": type(tokenizer).__name__, "core": core, "marks": marks}


def _digits(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=_nameless)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _nameless(value: Any) -> str:
    """Values that JSON has no form for: by their text where it is the same in every process."""
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text

"""What features depend on, as digests: the images, the processor, the weights, the settings and the versions.

Nothing is sampled: one changed value of one weight, one changed pixel or one changed setting gives another digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.data import contents
from holdfast.data.examples import Example, ImageSource
from holdfast.data.stored import StoredImage
from holdfast.models.anatomy import Anatomy, decoder_of
from holdfast.models.identity import processor_facts
from holdfast.models.loading import Loaded
from holdfast.speed.features.towers import towers

FORMAT = 1
"""Raised when the meaning of a file changes."""

_PASSING = ("_name_or_path", "transformers_version", "use_cache", "_commit_hash")
"""Settings of a model that say nothing about its features."""


def image_set(example: Example) -> str:
    """Stands for the images of an example in their order; the content counts, not the path."""
    digest = hashlib.blake2b(digest_size=16)
    for source in example.images:
        digest.update(_image(source))
    return digest.hexdigest()


def _image(source: ImageSource) -> bytes:
    if isinstance(source, Path):
        return contents.digest(source)
    if isinstance(source, StoredImage):
        return hashlib.blake2b(source.tobytes(), digest_size=32).digest()
    digest = hashlib.blake2b(f"pixels {source.shape} {source.dtype}".encode(), digest_size=32)
    digest.update(source.tobytes())
    return digest.digest()


def weights(model: nn.Module, anatomy: Anatomy, components: Collection[str]) -> str:
    """Digest of every byte of the named components, and of the buffers that go with them."""
    named: dict[str, Tensor] = {}
    for name in components:
        named |= anatomy.component(name).parameters
    if "connector" in components:
        other = {id(buffer) for buffer in decoder_of(model).buffers()}
        buffers = {name: buffer for name, buffer in model.named_buffers() if id(buffer) not in other}
    else:
        parts = towers(model, anatomy).items()
        buffers = {f"{name}.{own}": buffer for name, part in parts for own, buffer in part.named_buffers()}
    named |= {f"buffer {name}": buffer for name, buffer in buffers.items()}
    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter's lock
        digests = list(pool.map(_tensor, named.values()))
    whole = hashlib.blake2b(digest_size=16)
    for name, digest in zip(named, digests, strict=True):
        whole.update(name.encode() + b"\x00" + digest)
    return whole.hexdigest()


def _tensor(tensor: Tensor) -> bytes:
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())  # twice as fast here: processors have it
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    digest.update(flat.view(torch.uint8).numpy().data)
    return digest.digest()


def group(loaded: Loaded, stage: str, components: Collection[str], precision: Mapping[str, Any]) -> str:
    """Stands for everything but the images that features at ``stage`` depend on.

    Args:
        loaded: Model and processor.
        stage: After which part features are taken.
        components: Those that features pass through before they are stored.
        precision: What autocast does while they are made.
    """
    import PIL
    import transformers

    model: Any = loaded.model
    facts = {
        "format": FORMAT,
        "stage": stage,
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "weights": weights(model, loaded.anatomy, components),
        "config": {key: value for key, value in model.config.to_dict().items() if key not in _PASSING},
        "attention": [_attention(part) for part in towers(model, loaded.anatomy).values()],
        "processor": processor_facts(loaded.chat.processor),
        "precision": dict(precision),
        "device": loaded.device.type,
        "versions": [transformers.__version__, torch.__version__, PIL.__version__],
    }
    text = json.dumps(facts, sort_keys=True, default=_nameless)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _attention(part: Any) -> str:
    return str(getattr(getattr(part, "config", None), "_attn_implementation", None))


def _nameless(value: Any) -> str:
    """Values that JSON has no form for: by their text where it is the same in every process."""
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text

"""Weights of four and eight bits: which layers get them, what they stand for, and what a model on disk already has.

A packed weight is an integer tensor with scales beside it. It can be multiplied with and gradients pass through it, but
it can be neither written by an optimizer nor read as the matrix it stands for, so only methods that work beside a
weight go with it (:attr:`holdfast.methods.contract.Method.over_quantised`).
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from holdfast.config.schema import Load
from holdfast.errors import HoldfastError, within
from holdfast.models.anatomy import Anatomy, Component, resolve_anatomy
from holdfast.models.configuration import read_config
from holdfast.models.kinds import reachable
from holdfast.models.packed import WORDS, in_one, is_packed
from holdfast.values import JSON, Keywords

_PACKAGES = {
    "bitsandbytes": {"bitsandbytes": "bitsandbytes"},
    "gptq": {"gptqmodel": "gptqmodel", "optimum": "optimum"},
    "awq": {"gptqmodel": "gptqmodel"},
    "compressed-tensors": {"compressed-tensors": "compressed_tensors"},
    "torchao": {"torchao": "torchao"},
    "auto-round": {"auto-round": "auto_round"},
    "aqlm": {"aqlm": "aqlm"},
    "eetq": {"kernels": "kernels"},
    "hqq": {"hqq": "hqq"},
    "quanto": {"optimum-quanto": "optimum"},
    "quark": {"amd-quark": "quark"},
    "spqr": {"spqr_quant": "spqr_quant"},
    "vptq": {"vptq": "vptq"},
}
"""What transformers needs to load a checkpoint that was quantised so: packages, and the modules they bring (5.23)."""

_UNPACKED = ("compressed-tensors",)
"""Ways whose weights are unpacked while they are loaded, and are a base like any other afterwards: the first forward
would unpack them in any case, in the middle of whatever looks at them."""

_WIDTHS = {"mxfp4": 4, "nvfp4": 4}
"""Bits a weight of what is named after them."""

_IN_WORDS = ("gptq", "awq")
"""Ways whose layers are of classes of their own, see :func:`packed_elsewhere`."""


def stored_bits(config: Any) -> int | None:
    """Bits a weight of a checkpoint that was quantised before; None where it was not.

    Args:
        config: Of transformers, of a model.
    """
    stored = _stored(config)
    if stored is None:
        return None
    if stored.get("load_in_4bit") or stored.get("load_in_8bit"):
        return 4 if stored.get("load_in_4bit") else 8
    groups = stored.get("config_groups") or {}  # of compressed-tensors, which may keep some layers in more than others
    widths = [(group.get("weights") or {}).get("num_bits") for group in groups.values() if isinstance(group, dict)]
    given = [bits for bits in (stored.get("bits"), *widths) if isinstance(bits, int) and bits > 0]
    return min(given) if given else _WIDTHS.get(_way(stored), 8)


def check_stored(config: Any, name: str, load: Load) -> None:
    """Refuse a base that would be quantised twice, and one whose package is missing.

    Args:
        config: Of transformers, of the model.
        name: Of the model, for the message.
        load: How it is to be kept.

    Raises:
        HoldfastError: The checkpoint is quantised and ``load.bits`` is set, or nothing here can read it.
    """
    stored = _stored(config)
    if stored is None:
        if load.bits is not None:
            _require("bitsandbytes", f"load.bits: {load.bits} needs the package bitsandbytes", "holdfast[bits]")
        return
    how = _way(stored)
    if load.bits is not None:
        raise HoldfastError(
            f"model '{name}' is stored in {stored_bits(config)} bits already ({how}), and a base cannot be quantised "
            "twice",
            remedy="leave load.bits out, or give the model before it was quantised",
            key="load.bits",
        )
    if not _is_known(how):  # the library would pass over it, and find that weights are missing or of another shape
        raise HoldfastError(
            f"model '{name}' is stored quantised in a way that transformers does not read ({how})",
            remedy="give the model before it was quantised",
        )
    packages = _PACKAGES.get(how, {})
    missing = [package for package, module in packages.items() if find_spec(module) is None]
    if missing:
        them = " and ".join(packages)
        raise HoldfastError(
            f"model '{name}' is stored as {how}, which needs the package{'s' * (len(packages) > 1)} {them}",
            remedy=f"install what is missing with pip install {' '.join(missing)}, or give the model before it was "
            "quantised",
        )


def _way(stored: JSON) -> str:
    """How a checkpoint was quantised, by the library's name."""
    found = stored.get("quant_method")
    if found is None:
        return "bitsandbytes" if stored.get("load_in_4bit") or stored.get("load_in_8bit") else "an unknown way"
    return str(getattr(found, "value", found)).lower()


def _is_known(how: str) -> bool:
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    return how == "bitsandbytes" or how in AUTO_QUANTIZER_MAPPING


def packed_layers(anatomy: Anatomy, config: Any, load: Load) -> dict[str, tuple[int, list[str]]]:
    """Of every component whose matrices are kept packed: bits a weight, and its linear layers by full name.

    Args:
        anatomy: Of the model as it is without quantisation; it needs no values.
        config: Of transformers, of the model.
        load: How the base is to be kept; without ``bits`` the checkpoint's own quantisation counts.

    Raises:
        HoldfastError: A component of ``load`` has no linear layers.
    """
    stored = _stored(config)
    if load.bits is not None:
        with within("load", "components"):
            return {part: (load.bits, list(anatomy.component(part).linears(("all",)))) for part in load.components}
    if stored is None or _way(stored) in _UNPACKED:
        return {}
    from transformers.quantizers.quantizers_utils import should_convert_module

    bits = stored_bits(config) or 8
    left_out = list(stored.get("llm_int8_skip_modules") or stored.get("modules_to_not_convert") or [])
    # GPTQ's loader replaces layers in the llm's blocks and nowhere else; its checkpoints name none to leave out.
    parts = [part for part in anatomy if _way(stored) != "gptq" or part.name == "llm"]
    found = {part.name: [name for name in _linears(part) if should_convert_module(name, left_out)] for part in parts}
    return {component: (bits, layers) for component, layers in found.items() if layers}


def stored_components(place: str, name: str, *, trust_remote_code: bool) -> tuple[dict[str, int], set[str]]:
    """What a checkpoint on disk holds packed, before anything of it is loaded.

    Args:
        place: Folder or Hub id.
        name: Of the model, for messages.
        trust_remote_code: Let the model's own Python code run.

    Returns:
        Bits a weight by component, and :func:`stored_elsewhere`.
    """
    config = read_config(place, name, trust_remote_code=trust_remote_code)
    stored = _stored(config)
    if stored is None or _way(stored) in _UNPACKED:
        return {}, set()
    anatomy = _shapes(config, torch.bfloat16, trust_remote_code=trust_remote_code)
    packed = {component: bits for component, (bits, _) in packed_layers(anatomy, config, Load()).items()}
    return packed, stored_elsewhere(config, packed)


def stored_elsewhere(config: Any, packed: Collection[str]) -> set[str]:
    """Of packed components those that :func:`packed_elsewhere` will find, as far as a configuration tells.

    Args:
        config: Of transformers, of the model.
        packed: The components that it keeps packed.
    """
    stored = _stored(config)
    return set(packed) if stored is not None and _way(stored) in _IN_WORDS else set()


def packing(config: Any, load: Load, dtype: torch.dtype, device: str, *, trust_remote_code: bool) -> Keywords:
    """What ``from_pretrained`` takes to keep the matrices of ``load.components`` packed and all else as it is.

    Args:
        config: Of transformers, of the model.
        load: How the base is to be kept.
        dtype: Of the other weights.
        device: Where packed weights are made; they are made where they stay.
        trust_remote_code: Let the model's own Python code run.

    Raises:
        HoldfastError: A component has no linear layers.
    """
    if device == "cuda":  # accelerate asks for its number
        device = f"cuda:{torch.cuda.current_device()}"
    stored = _stored(config)
    if load.bits is None:
        if stored is not None and _way(stored) in _UNPACKED:
            _holder(config).quantization_config = {**stored, "dequantize": True}
            return {}
        return {} if stored is None else {"device_map": {"": device}}
    from transformers import BitsAndBytesConfig

    anatomy = _shapes(config, dtype, trust_remote_code=trust_remote_code)
    chosen = {name for _, layers in packed_layers(anatomy, config, load).values() for name in layers}
    modules = anatomy.llm.model.named_modules()
    others = [name for name, module in modules if isinstance(module, nn.Linear) and name not in chosen]
    settings = BitsAndBytesConfig(
        load_in_4bit=load.bits == 4,
        load_in_8bit=load.bits == 8,
        llm_int8_skip_modules=others,
        bnb_4bit_quant_type=load.values,
        bnb_4bit_use_double_quant=load.double,
        bnb_4bit_compute_dtype={"auto": dtype, "fp32": torch.float32, "bf16": torch.bfloat16}[load.compute],
    )
    return {"quantization_config": settings, "device_map": {"": device}}


def keep_still(model: nn.Module) -> None:
    """Let no layer write its packed weights in another order while it answers, as bitsandbytes does on some CPUs."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            object.__setattr__(module, "support_avx512bf16_for_cpu", False)


def packed_components(anatomy: Anatomy) -> dict[str, int]:
    """Bits a weight of the components that hold packed weights."""
    found = {}
    for component in anatomy:
        widths = [_bits(parameter) for parameter in component.parameters.values() if is_packed(parameter)]
        if widths:
            found[component.name] = min(widths)
    return found


def packed_elsewhere(anatomy: Anatomy) -> set[str]:
    """Components whose packed weights are GPTQ's or AWQ's, which fewer methods know how to stand beside."""
    return {part.name for part in anatomy if any(name.endswith(f".{WORDS}") for name in part.parameters)}


def _bits(parameter: nn.Parameter) -> int:
    if getattr(parameter, "quant_state", None) is not None:
        return 4
    return 8 * parameter.element_size() // in_one(parameter)


def _linears(component: Component) -> list[str]:
    """Every linear layer but the head; none where a component has none."""
    if not any(name in component.modules() for name in reachable(component.model)):
        return []
    try:
        return list(component.linears(("all",)))
    except HoldfastError:
        return []


def _shapes(config: Any, dtype: torch.dtype, *, trust_remote_code: bool) -> Anatomy:
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype, trust_remote_code=trust_remote_code)
    return resolve_anatomy(model)


def _stored(config: Any) -> JSON | None:
    """The part of a configuration that says how its checkpoint was quantised."""
    found = getattr(_holder(config), "quantization_config", None)
    if not found:
        return None
    return dict(found if isinstance(found, dict) else found.to_dict())


def _holder(config: Any) -> Any:
    """The configuration, or its llm's, that says so."""
    text = getattr(config, "text_config", None)
    return text if not getattr(config, "quantization_config", None) and text is not None else config


def _require(package: str, problem: str, install: str) -> None:
    if find_spec(package) is None:
        raise HoldfastError(problem, remedy=f"pip install '{install}'", key="load.bits")

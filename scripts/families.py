"""Write the tables of ``docs/models.md``: what the anatomy finds in every family of the installed transformers.

Run from the project root: ``python -m scripts.families`` (about a minute, no download).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tests.support.families import FAMILIES, build, model_class
from tests.support.processors import KITS

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context
from holdfast.methods.registry import make_method
from holdfast.models.anatomy import Anatomy, Component, resolve_anatomy
from holdfast.speed.decision import NotPossible
from holdfast.speed.features.tap import check_forward
from holdfast.speed.features.towers import inside
from holdfast.speed.sharing.supports import supports

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- tested families -->", "<!-- end of tested families -->"
OTHERS, END_OF_OTHERS = "<!-- other families -->", "<!-- end of other families -->"

PROCESSORS_ALIKE = {"smolvlm": "needs `num2words`"}

PROCESSORS_REFUSED = ("blip", "blip-2", "instructblip", "idefics", "kosmos-2", "kosmos-2.5")
"""Their processors put image tokens in front of the text or rewrite it; see ``tests/models/test_processors.py``."""

TORCHVISION = ("mistral3", "cohere2_vision", "lfm2_vl", "llama4", "step3p7", "kimi_k25")
"""Families whose processors need torchvision."""


def modules_of(component: Component) -> str:
    """The fewest modules and bare parameters that make up a component."""
    owned = set(component.parameters)
    names: list[str] = []
    _cover(component.model, "", owned, names)
    shown = [f"`{name}`" for name in names[:4]] + ([f"{len(names) - 4} more"] if len(names) > 4 else [])
    return ", ".join(shown) or "none"


def _cover(module: torch.nn.Module, prefix: str, owned: set[str], found: list[str]) -> None:
    inside = {f"{prefix}{name}" for name, _ in module.named_parameters()}
    if inside and inside <= owned:
        found.append(prefix.rstrip("."))
        return
    found += [f"{prefix}{name}" for name, _ in module.named_parameters(recurse=False) if f"{prefix}{name}" in owned]
    for name, child in module.named_children():
        _cover(child, f"{prefix}{name}.", owned, found)


def prefix_of(parts: Anatomy) -> str:
    """Whether prefix tuning finds a place, and in how many of the layers."""
    method: Any = make_method("prefix", {"tokens": 1})
    try:
        method.attach(parts.llm, Context(torch.Generator()))
    except HoldfastError:
        return "no"
    layers, blocks = len(method.attention), len(parts.llm.layers())
    method.detach()
    return "yes" if layers == blocks else "attention layers"


def features_of(model: Any, parts: Anatomy) -> str:
    """Behind which part features can be kept."""
    try:
        check_forward(model)
    except NotPossible:
        return "no"
    return "connector" if inside(model, parts) else "connector, tower"


def table() -> str:
    """The table between the marks."""
    rows = ["| family | vision | connector | llm | processor | prefix | shared rows | features |", "|---|" + "---|" * 7]
    for name in FAMILIES:
        model = build(name)
        parts = resolve_anatomy(model)
        cells = [modules_of(component) for component in parts]
        processor = "yes" if name in KITS else "no"
        processor = "refused" if name in PROCESSORS_REFUSED else "torchvision" if name in TORCHVISION else processor
        processor = PROCESSORS_ALIKE.get(name, processor)
        cells += [processor, prefix_of(parts), "yes" if supports(model) else "no", features_of(model, parts)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([BEGIN, *rows, END])


def others() -> Iterable[tuple[str, str]]:
    """The remaining model types and what the anatomy says of their default configurations."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    for name in sorted(set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES) - set(FAMILIES)):
        try:
            config = CONFIG_MAPPING[name]()
            with torch.device("meta"):
                model = model_class(config)(config)
        except ImportError as error:
            yield name, "not built: " + ("needs timm" if "timm" in str(error) else "a package is missing")
            continue
        except Exception:  # whatever a default configuration may run into
            yield name, "not built: its default configuration alone makes no model"
            continue
        if getattr(config, "vision_config", 0) is None:
            yield name, "not built: its default configuration has no image part"
            continue
        try:
            resolve_anatomy(model)
        except HoldfastError as error:
            yield name, f"refused: {error.problem}"
        else:
            yield name, "resolves; not run"


def main() -> None:
    """Write the tables of the page."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    rest = "\n".join(
        [OTHERS, "| family | what happens |", "|---|---|", *(f"| {name} | {what} |" for name, what in others())]
    )
    text = between(DOCUMENT.read_text(encoding="utf-8"), BEGIN, END, table())
    text = between(text, OTHERS, END_OF_OTHERS, f"{rest}\n{END_OF_OTHERS}")
    beside = DOCUMENT.with_suffix(".tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(DOCUMENT)


def between(text: str, begin: str, end: str, new: str) -> str:
    """The text with ``new`` in place of what stands from ``begin`` to ``end``, both included."""
    return text.split(begin)[0] + new + text.split(end)[1]


if __name__ == "__main__":
    main()

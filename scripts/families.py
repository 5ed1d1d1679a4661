"""Write ``docs/models.md``: what the anatomy finds in every image-text-to-text family of the installed transformers.

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

PROCESSORS_ALIKE = {"smolvlm": "needs `num2words`"}

HEAD = """# Models

Holdfast works on the image-text-to-text models of transformers whose text is continued, token by token, by a
language model that can be told apart from the part that sees. The anatomy
(`src/holdfast/models/anatomy.py`) knows no family, only where a model says its encoder and decoder are and what
a few parts of towers are called; this page says what it finds. `python -m scripts.families` writes it, and a
test keeps the table current.

- **vision**: everything below the model's image encoder, and further encoders that take pixels;
- **connector**: what stands between, wherever it stands: Qwen-VL, GLM-4V, Granite-Docling, Step-3 and Llama 4
  keep it inside the tower;
- **llm**: the language model with its output head and its cross-attention.

Every parameter belongs to exactly one of them. A parameter that belongs to none is an error that names it, and
so is a component that a recipe names and the model lacks.

## Tested families

Each on a tiny random model of the real class, made from a shrunk default configuration: forward, backward
(every parameter has a gradient, or is listed in `tests/models/test_families.py` with the reason), generate,
save and load; LoRA, full connector, adapter, magnitude mask and prefix attach, train two steps, come off bit
for bit, and give the same weights on a fresh model. It shows that the parts are found and wired right. No
full-size checkpoint was run.

*processor*: labels of one and several turns and images, padding, text-only rows and length limits were tested
through the family's own processor; "no" means that the model was fed tensors made by hand. *shared rows*:
questions about one image may stand in one row, with the logits of separate rows
(`src/holdfast/speed/sharing/supports.py` has the reasons for "no"). *features*: behind which frozen part the feature
cache can cut; the connector of the families with one entry stands inside the tower, so both must be frozen.
"""

TAIL = """
## Without torchvision

torchvision is not needed, and the tests run without it. transformers refuses to load a processor that has a
video part (Qwen-VL, LLaVA-OneVision, InternVL, SmolVLM) when torchvision is missing, although images need none
of it. Holdfast then builds the same processor without its video part, from the tokenizer, the PIL image
processor and the settings stored beside them. With torchvision the library's own path is taken; that path was
not run here, as torchvision is not installed. SmolVLM's processor needs the package `num2words` besides.

## What is particular

- **Layers that no gradient reaches.** LLaVA's default feature layer is the last but one, so the last layer of
  its tower has no gradient; nor has a pooling head, or a norm behind the features. The ledger's check after
  step 1 names such tensors.
- **PaliGemma** reads its prompt in both directions and its answer in one. Its processor rewrites the text and
  marks everything as prompt, so that each answer token would see the ones it is to predict; Holdfast expands
  the image tokens and marks the answer itself. Its checkpoints bring no chat template: give them one.
- **Gemma3** needs token types in training, also for rows without an image; they are added.
- **Mixture-of-experts** families keep their experts in fused tensors. Methods for linear layers reach
  attention, dense and shared MLP layers there, and say so where nothing else is left.
- **PEFT** rewrites module names of a few mixture-of-experts families as if they came from old checkpoints
  (seen: GLM-4V-MoE), and then leaves out MLP layers. Use `modules: [attention]` there.
- **Prefix** joins its keys inside the attention function. It works with sliding windows (a prefix is always
  seen), M-RoPE, bidirectional images and block masks; in hybrid models the layers with softmax attention have
  one, in Mllama the self-attention layers. It refuses where keys and values are compressed, or where attention
  does not go through the library's function.
- **Weights at other addresses.** The same weights give the same logits up to 1e-6 in float32 on a CPU: some
  kernels add in another order when a tensor is aligned otherwise.
"""


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
        processor = PROCESSORS_ALIKE.get(name, "yes" if name in KITS else "no")
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
    """Write the page."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    lines = ["", "", "## All other families of the installed transformers", ""]
    lines += [
        "Built on the meta device from their default configurations.",
        "",
        "| family | what happens |",
        "|---|---|",
    ]
    lines += [f"| {name} | {what} |" for name, what in others()]
    DOCUMENT.parent.mkdir(exist_ok=True)
    beside = DOCUMENT.with_suffix(".tmp")
    beside.write_text(HEAD + "\n" + table() + "\n".join(lines) + "\n" + TAIL, encoding="utf-8")
    beside.replace(DOCUMENT)


if __name__ == "__main__":
    main()

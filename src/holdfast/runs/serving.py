"""What serving tools look for in an exported model folder; asked of files alone, no such tool is run.

vLLM reads ``config.json`` (``architectures``), a fast tokenizer, the processor's settings and a chat template. The
converter of llama.cpp reads ``config.json``, the tokenizer and safetensors, and for pictures
``preprocessor_config.json``. Whether they know the architecture depends on their version, which is theirs to say.
transformers 4, which many tools still ask for, reads neither the tokenizer class nor the place of picture settings that
version 5 writes; a base that was stored before is written as it was, and both read it.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.values import JSON

_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def missing_for_serving(folder: Path) -> dict[str, list[str]]:
    """Tool -> what it would miss in the folder; an empty list where nothing is missing.

    Args:
        folder: A plain model folder.
    """
    config = _read(folder / "config.json")
    names = config.get("architectures") or []
    tokenizer = _read(folder / "tokenizer_config.json")
    weights = sorted(folder.glob("*.safetensors"))
    both = []
    if not names:
        both.append("architectures in config.json")
    if not weights:
        both.append("weights in safetensors")
    elif len(weights) > 1 and not (folder / "model.safetensors.index.json").is_file():
        both.append("model.safetensors.index.json, which says what stands in which file")
    if not (folder / "tokenizer.json").is_file() and not (folder / "tokenizer.model").is_file():
        both.append("tokenizer.json or tokenizer.model")
    if not any((folder / name).is_file() for name in _PROCESSORS):
        both.append("preprocessor_config.json")
    template = any((folder / name).is_file() for name in _TEMPLATES) or "chat_template" in tokenizer
    vllm = [*both, *([] if template else ["a chat template (give vllm serve --chat-template)"])]
    llama = list(both)
    if (folder / "processor_config.json").is_file() and not (folder / "preprocessor_config.json").is_file():
        llama.append("preprocessor_config.json (the picture settings stand in processor_config.json)")
    if any(not file.name.startswith("model") for file in weights):
        llama.append("weights in files whose names begin with 'model'")
    before = list(both)
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        before.append(
            "a tokenizer class that it knows (tokenizer_config.json names TokenizersBackend, new in version 5)"
        )
    if not (folder / "preprocessor_config.json").is_file() and (folder / "processor_config.json").is_file():
        before.append("preprocessor_config.json")
    return {"vLLM": vllm, "llama.cpp": llama, "transformers 4": before}


def _read(file: Path) -> JSON:
    try:
        found = read_json(file)
    except HoldfastError:
        return {}
    return found if isinstance(found, dict) else {}

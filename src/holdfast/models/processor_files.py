"""The files that a model's processor, tokenizer and chat template are read from, copied as they are.

A processor that is saved again is a translation: families with a video slot cannot even be saved without torchvision,
and settings that this version of the library does not know would be lost. An exported model has its base's own files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

NAMES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "tokenizer.model.v3",
    "tekken.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
)
"""What transformers looks for when it loads a processor."""


def copy_processor(place: str, out: Path) -> list[str]:
    """Copy the processor's files of a model into a folder.

    Args:
        place: Folder or Hub id of the model, as it was loaded.
        out: An existing folder.

    Returns:
        The names copied; empty where the model's files cannot be found by name.
    """
    from transformers.utils.hub import cached_file

    copied = []
    for name in NAMES:
        found = cached_file(
            place,
            name,
            local_files_only=True,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if found is not None:
            shutil.copyfile(found, out / name)
            copied.append(name)
    folder = Path(place) / "additional_chat_templates"
    if folder.is_dir():
        (out / folder.name).mkdir()
        for template in sorted(folder.glob("*.jinja")):
            shutil.copyfile(template, out / folder.name / template.name)
            copied.append(f"{folder.name}/{template.name}")
    return copied

"""The tokenizer: a pocket word is one token, and any other text is spelled without loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.pocket.words import all_words

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "<answer>")
"""Ids 0-5. ``<answer>`` stands before every answer."""

PAD, BEGIN, END, UNKNOWN, IMAGE, ANSWER = range(6)

IMAGE_TOKENS = 16
"""Tokens that one picture becomes."""

TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}
{{- '<image>' -}}
{%- elif part['type'] == 'text' -%}
{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- if message['role'] == 'assistant' -%}
{{- eos_token -}}
{%- elif (loop.last and add_generation_prompt) or (not loop.last and messages[loop.index]['role'] == 'assistant') -%}
{{- '<answer>' -}}
{%- else -%}
{{- ' ' -}}
{%- endif -%}
{%- endfor -%}
"""
"""One or many turns, any number of images: ``<s><image>question<answer>answer</s>question<answer>...``."""

# Unigram picks the split with the highest sum. A word costs less than any spelling of it, and a byte costs more than
# spelling its own name ("<0x41>", six characters), so that text which looks like a byte token stays text.
_WORD, _CHARACTER, _BYTE = -1.0, -10.0, -100.0


def vocabulary() -> list[tuple[str, float]]:
    """All pieces with their scores, in the order of their ids: special, words, printable ASCII and newline, bytes."""
    pieces = [(token, _BYTE) for token in SPECIAL]
    pieces += [(f" {word}", _WORD) for word in all_words()]
    pieces += [(chr(code), _CHARACTER) for code in (10, *range(32, 127))]
    pieces += [(f"<0x{byte:02X}>", _BYTE) for byte in range(256)]
    return pieces


BYTE_RANGE = range(len(vocabulary()) - 256, len(vocabulary()))
"""Ids of the byte tokens."""


def make_tokenizer() -> Any:
    """A fast tokenizer of transformers. ``decode(encode(text))`` gives back the text.

    A section between special tokens gets one space in front, so that its first word is the same token as elsewhere;
    decoding takes that space away at the very beginning.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.Unigram(vocabulary(), unk_id=UNKNOWN, byte_fallback=True))
    made.normalizer = normalizers.Prepend(" ")
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[^\s]+|\s"), behavior="isolated")
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>", "answer_token": "<answer>"},
        clean_up_tokenization_spaces=False,
        model_max_length=512,
        padding_side="right",
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_processor() -> Any:
    """Tokenizer and image processor together; takes RGB pictures of any size to 32x32 in -1..1."""
    from transformers import LlavaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    return LlavaProcessor(
        image_processor=SiglipImageProcessorPil(
            size={"height": 32, "width": 32},
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
            resample=3,
            do_convert_rgb=True,
        ),
        tokenizer=make_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
        image_token="<image>",
    )


def save_processor(folder: Path) -> None:
    """Write the tokenizer, image processor and chat template files of a model folder."""
    make_processor().save_pretrained(folder)

"""Tiny random vision encoders and language models, as the folders that ``holdfast compose`` is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SIDE, PATCH, WIDE = 16, 8, 32
"""Pictures of 16 pixels in four patches; the language model's width."""

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|start|>system\nBe kind.<|end|>\n"
    "{% endif %}{{ '<|start|>' + message['role'] + '\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}"
)
"""Adds strings to content, as the templates of language models for text do."""

RESERVED = ["<|start|>", "<|end|>", "<|spare|>"]


def save_vision(folder: Path, family: str) -> Path:
    """A vision encoder of 16 values a patch and its picture processor.

    Args:
        folder: To write.
        family: ``clip`` (a whole CLIP, its text half included), ``siglip`` (no class token), ``dinov2``.
    """
    from transformers import (
        CLIPConfig,
        CLIPModel,
        Dinov2Config,
        Dinov2Model,
        SiglipVisionConfig,
        SiglipVisionModel,
    )
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    sizes: dict[str, Any] = {
        "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": SIDE, "patch_size": PATCH,
    }  # fmt: skip
    square = {"height": SIDE, "width": SIDE}
    torch.manual_seed(1)
    if family == "clip":
        text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64,
                "intermediate_size": 16}  # fmt: skip
        CLIPModel(
            CLIPConfig(text_config=text, vision_config=sizes | {"intermediate_size": 32}, projection_dim=8)
        ).save_pretrained(folder)
        CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square).save_pretrained(folder)
    elif family == "siglip":
        SiglipVisionModel(SiglipVisionConfig(**sizes, intermediate_size=32)).save_pretrained(folder)
        SiglipImageProcessorPil(size=square).save_pretrained(folder)
    else:
        Dinov2Model(Dinov2Config(**sizes, mlp_ratio=2)).save_pretrained(folder)
        BitImageProcessorPil(size={"shortest_edge": 20}, crop_size=square).save_pretrained(folder)
    return folder


def save_llm(folder: Path, family: str, *, template: str | None = CHATML, spare: int = 0) -> Path:
    """A language model and its tokenizer, which knows bytes and a few reserved tokens.

    Args:
        folder: To write.
        family: ``llama`` (a head of its own) or ``qwen2`` (the head is the embedding).
        template: Its chat template.
        spare: Rows of the embedding for which there is no token.
    """
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    words = tokenizer(template)
    sizes: dict[str, Any] = {
        "vocab_size": len(words) + spare, "hidden_size": WIDE, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    }  # fmt: skip
    torch.manual_seed(2)
    if family == "llama":
        model: Any = LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=False))
    else:
        model = Qwen2ForCausalLM(Qwen2Config(**sizes, tie_word_embeddings=True))
    model.generation_config.eos_token_id = words.eos_token_id
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def tokenizer(template: str | None) -> Any:
    """Every byte is a token; no token stands for a picture."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "</s>", "<unk>", *RESERVED]
    vocabulary = {token: at for at, token in enumerate(special + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="</s>", pad_token="<pad>", unk_token="<unk>", extra_special_tokens=RESERVED
    )
    fast.chat_template = template
    return fast

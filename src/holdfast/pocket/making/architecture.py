"""The network: stock LLaVA classes at a million parameters, and an initialisation that suits narrow layers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from holdfast.pocket.tokens import BEGIN, END, IMAGE, IMAGE_TOKENS, PAD, vocabulary

VISION_WIDTH = 96
WIDTH = 128


def make_config() -> Any:
    """SigLIP tower (96 x 3), two-layer projector, Llama decoder (128 x 3), untied embeddings."""
    from transformers import LlamaConfig, LlavaConfig, SiglipVisionConfig

    return LlavaConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=VISION_WIDTH,
            intermediate_size=192,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
            vision_use_head=False,
        ),
        text_config=LlamaConfig(
            vocab_size=len(vocabulary()),
            hidden_size=WIDTH,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=False,
            pad_token_id=PAD,
            bos_token_id=BEGIN,
            eos_token_id=END,
        ),
        image_token_index=IMAGE,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=False,
    )


def make_model(seed: int) -> Any:
    """A ``LlavaForConditionalGeneration`` with fan-in initialisation, in training mode."""
    from transformers import LlavaForConditionalGeneration

    torch.manual_seed(seed)
    config = make_config()
    model = LlavaForConditionalGeneration(config)
    model.generation_config.update(pad_token_id=PAD, bos_token_id=BEGIN, eos_token_id=END, max_new_tokens=48)
    initialise(model.model.vision_tower, layers=config.vision_config.num_hidden_layers)
    initialise(model.model.multi_modal_projector, layers=1)
    initialise(model.model.language_model, layers=config.text_config.num_hidden_layers)
    nn.init.normal_(model.lm_head.weight, std=0.02)
    return model


def initialise(module: nn.Module, *, layers: int) -> None:
    """Variance 1 / fan-in; residual outputs smaller by the square root of twice the layers; biases 0.

    The usual 0.02 leaves layers of width 96-128 almost silent.
    """
    for name, child in module.named_modules():
        if isinstance(child, nn.Linear | nn.Conv2d):
            fan_in = child.weight[0].numel()
            residual = name.rsplit(".", 1)[-1] in ("out_proj", "fc2", "o_proj", "down_proj")
            nn.init.normal_(child.weight, std=1 / math.sqrt(fan_in * (2 * layers if residual else 1)))
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.Embedding):
            nn.init.normal_(child.weight, std=0.3 if "position" in name else 0.5)


def parameter_count(model: nn.Module) -> int:
    """All parameters."""
    return sum(parameter.numel() for parameter in model.parameters())

"""The second network, ``pocket-2``: Idefics3's classes with a Qwen2 decoder, at 0.6 of the first one's parameters.

Its eye is the first one's, taken over; connector and language are learned by the same stages. Where LLaVA puts a
two-layer projector in front of a Llama, it has one matrix without bias behind a norm, special tokens around every
image, grouped keys and values, and biases in the attention.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.models.loading import POCKET
from holdfast.pocket.making.architecture import VISION_WIDTH, initialise
from holdfast.pocket.making.parts import END_OF_UTTERANCE
from holdfast.pocket.tokens import BEGIN, END, IMAGE, IMAGE_TOKENS, PAD, TEMPLATE, make_tokenizer

WIDTH = 96


def make_second_config() -> Any:
    """The first one's tower, pixel shuffle by 1 (16 tokens an image), Qwen2 decoder (96 x 3, two key-value heads)."""
    from transformers import Idefics3Config

    return Idefics3Config(
        vision_config={
            "hidden_size": VISION_WIDTH,
            "intermediate_size": 192,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": END_OF_UTTERANCE + 1,
            "hidden_size": WIDTH,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "tie_word_embeddings": False,
            "pad_token_id": PAD,
            "bos_token_id": BEGIN,
            "eos_token_id": END,
        },
        scale_factor=1,
        image_token_id=IMAGE,
        pad_token_id=PAD,
        tie_word_embeddings=False,
    )


def make_second_model(seed: int) -> Any:
    """An ``Idefics3ForConditionalGeneration`` that sees what the shipped pocket model sees, in training mode."""
    from transformers import Idefics3ForConditionalGeneration

    torch.manual_seed(seed)
    config = make_second_config()
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config.update(pad_token_id=PAD, bos_token_id=BEGIN, eos_token_id=END, max_new_tokens=48)
    initialise(model.model.connector, layers=1)
    initialise(model.model.text_model, layers=config.text_config.num_hidden_layers)
    nn.init.normal_(model.lm_head.weight, std=0.02)
    return model


def take_over_eye(model: Any, folder: Path = POCKET) -> None:
    """Give the model (in place) the tower of a LLaVA's folder: both are SigLIP's layers under other names."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as found:
        names = [name for name in found.keys() if ".vision_tower." in f".{name}"]  # noqa: SIM118 - it is no mapping
        tower = {name.split("vision_tower.", 1)[1].removeprefix("vision_model."): name for name in names}
        model.model.vision_model.load_state_dict({own: found.get_tensor(name) for own, name in tower.items()})


def make_second_processor() -> Any:
    """Tokenizer and image processor together; takes RGB pictures of any size to 32x32 in -1..1."""
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    tokenizer = make_tokenizer()
    around = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    tokenizer.add_special_tokens({"additional_special_tokens": around})
    tokenizer.chat_template = TEMPLATE
    return Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(
            size={"longest_edge": 32},
            max_image_size={"longest_edge": 32},
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
            do_image_splitting=False,
            do_convert_rgb=True,
        ),
        tokenizer=tokenizer,
        image_seq_len=IMAGE_TOKENS,
        chat_template=TEMPLATE,
    )

"""The models and the data that the speed benchmarks run on: a LLaVA with random weights, or the shipped pocket model,
and pictures with several short questions each. Nothing is downloaded, and a seed decides everything.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

TOWERS: dict[str, dict[str, int]] = {
    "vit-l": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "vit-b": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
    "tiny": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
}
"""Image encoders; ``vit-l`` is the one of LLaVA-1.5 (CLIP ViT-L/14), ``vit-b`` has the size of SmolVLM-256M's."""

PATCH = 14
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "USER:", "ASSISTANT:", "yes", "no")
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}USER: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %} "
    "{% else %}ASSISTANT: {{ m['content'][0]['text'] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """A LLaVA by its sizes; ``model: pocket`` is the shipped model and ignores them."""

    model: str = "llava"
    tower: str = "vit-b"
    image: int = 336
    layers: int = 8
    width: int = 512
    inner: int = 0
    heads: int = 0
    vocabulary: int = 128256
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def image_tokens(self) -> int:
        """Positions of one picture in the llm."""
        return (self.image // PATCH) ** 2


def shape_arguments(parser: argparse.ArgumentParser, **defaults: Any) -> None:
    """One flag for every size."""
    default = Shape(**defaults)
    parser.add_argument("--model", choices=("llava", "pocket"), default=default.model, help="pocket ignores the sizes")
    parser.add_argument("--tower", choices=tuple(TOWERS), default=default.tower, help=f"default {default.tower}")
    parser.add_argument("--image", type=int, default=default.image, help=f"side in pixels (default {default.image})")
    parser.add_argument("--layers", type=int, default=default.layers, help=f"of the llm (default {default.layers})")
    parser.add_argument("--width", type=int, default=default.width, help=f"of the llm (default {default.width})")
    parser.add_argument("--vocabulary", type=int, default=default.vocabulary, help=f"default {default.vocabulary}")


def shape_of(options: argparse.Namespace) -> Shape:
    """The shape that the flags give."""
    names = ("model", "tower", "image", "layers", "width", "vocabulary")
    return Shape(**{name: getattr(options, name) for name in names})


def llava_config(shape: Shape) -> Any:
    """The configuration of a LLaVA-1.5 of that shape."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    heads = shape.heads or max(1, shape.width // 64)
    longest = max(4096, 2 * shape.image_tokens + 2048)
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**TOWERS[shape.tower], image_size=shape.image, patch_size=PATCH),
        text_config=LlamaConfig(
            vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.layers,
            intermediate_size=shape.inner or shape.width * 8 // 3, num_attention_heads=heads,
            num_key_value_heads=heads, max_position_embeddings=longest, tie_word_embeddings=False,
            bos_token_id=1, eos_token_id=2, pad_token_id=0,
        ),
        image_token_index=SPECIAL.index("<image>"), image_seq_length=shape.image_tokens,
        vision_feature_layer=-2, vision_feature_select_strategy="default", tie_word_embeddings=False,
    )  # fmt: skip


def build(shape: Shape, seed: int = 0) -> Any:
    """The model with its processor, as ``holdfast.models.loading.Loaded``; random weights are made on the device."""
    import torch

    from holdfast.models.anatomy import resolve_anatomy
    from holdfast.models.chat import ChatProcessor
    from holdfast.models.loading import Loaded, load_model

    if shape.model == "pocket":
        return load_model("pocket", device=shape.device)
    from transformers import LlavaForConditionalGeneration
    from transformers.utils import logging

    logging.set_verbosity_error()
    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(getattr(torch, shape.dtype))
    try:
        with torch.device(shape.device):
            model = LlavaForConditionalGeneration(llava_config(shape))
    finally:
        torch.set_default_dtype(before)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    return Loaded(f"random {asdict(shape)}", model.eval(), ChatProcessor(processor(shape)), resolve_anatomy(model))


def processor(shape: Shape) -> Any:
    """LLaVA's processor with a tokenizer of whole words ``w9``, ``w10``, ... up to the size of the vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlavaProcessor, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    words = (*SPECIAL, *(f"w{index}" for index in range(len(SPECIAL), shape.vocabulary)))
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"}, model_max_length=1 << 20,
    )  # fmt: skip
    tokenizer.chat_template = TEMPLATE
    side = {"height": shape.image, "width": shape.image}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": shape.image}, crop_size=side),
        tokenizer=tokenizer, patch_size=PATCH, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=TEMPLATE,
    )  # fmt: skip


def make_examples(
    shape: Shape,
    folder: Path,
    *,
    images: int,
    questions: int,
    answer: tuple[int, int] = (1, 4),
    question: tuple[int, int] = (10, 20),
    choices: tuple[str, ...] = (),
    seed: int = 0,
    name: str = "train",
) -> list[Any]:
    """``images`` pictures as PNG files with ``questions`` questions each, picture by picture.

    Args:
        shape: Decides the size of the pictures and the words.
        folder: Where the pictures are written.
        images: How many pictures.
        questions: How many questions a picture.
        answer: Fewest and most words of an answer (an end token follows).
        question: Fewest and most words of a question.
        choices: If given, every answer is one of these.
        seed: Of everything drawn; parts with other names get other pictures.
        name: Of this part.
    """
    from holdfast.data.examples import Example, Turn

    rng = np.random.default_rng((seed, len(name), *name.encode()))
    found = []
    for index in range(images):
        path = folder / f"{name}-{index}.png"
        _picture(shape, path, rng)
        for number in range(questions):
            asked, said = _words(shape, rng, question, answer)
            if choices:
                said = choices[int(rng.integers(len(choices)))]
            turn = Turn(asked, (said,))
            found.append(Example(f"{name}-{index}-{number}", (path,), (turn,), str(path), choices))
    return found


def _picture(shape: Shape, path: Path, rng: np.random.Generator) -> None:
    """Smooth noise: a PNG of a photograph's size on disk, not of pure noise's."""
    from PIL import Image

    side = 32 if shape.model == "pocket" else shape.image
    coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)


def _words(
    shape: Shape, rng: np.random.Generator, question: tuple[int, int], answer: tuple[int, int]
) -> tuple[str, str]:
    if shape.model == "pocket":
        return _pocket_words(rng)
    counts = [int(rng.integers(low, high + 1)) for low, high in (question, answer)]
    drawn = [" ".join(f"w{i}" for i in rng.integers(len(SPECIAL), shape.vocabulary, count)) for count in counts]
    return drawn[0], drawn[1]


def _pocket_words(rng: np.random.Generator) -> tuple[str, str]:
    """A question of the pocket world and an answer of another draw: its words, whatever the picture shows."""
    from holdfast.pocket.tasks import SOURCES, draw

    drawn = draw(SOURCES[int(rng.integers(len(SOURCES)))], "train", 1, seed=int(rng.integers(1 << 16)))[0]
    return drawn.question, drawn.answer


def as_text(loaded: Any, example: Any) -> tuple[str, str]:
    """Prompt and answer with its end token as plain text, rendered as Holdfast renders them."""
    rendered = loaded.chat.render(example, with_answer=True)
    begin, end = rendered.answers[-1]
    return rendered.text[:begin], rendered.text[begin:end]

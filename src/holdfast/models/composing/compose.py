"""Put a LLaVA-type model together from a vision encoder and a language model, and see that it works."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from holdfast import files
from holdfast.data.examples import Example, Turn
from holdfast.errors import HoldfastError
from holdfast.files.places import path_of
from holdfast.models.chat import ChatProcessor
from holdfast.models.composing import connector
from holdfast.models.composing.llm import Writer, place_token, read_llm
from holdfast.models.composing.template import with_pictures
from holdfast.models.composing.tower import Tower, read_tower
from holdfast.models.identity import model_identity

RECORD = "composed.json"
"""What a model was put together of, beside its weights."""

WORDS = "The quick brown fox jumps over the lazy dog."


@dataclass(frozen=True)
class Composed:
    """What a model was put together of.

    Attributes:
        vision: Name of the encoder; of a folder its last part.
        vision_identity: Sixteen digits that stand for its weights.
        llm: Name of the language model.
        llm_identity: Sixteen digits that stand for its weights as they came.
        layer: Layer of the encoder that is read.
        image_size: Height and width to which pictures are resized.
        image_tokens: Tokens of a picture.
        token: Stands for a picture in a prompt.
        token_id: Its id.
        projector: Name of the file of taught values; None: drawn from the seed.
        seed: Of the fresh connector.
        parameters: Values a component.
    """

    vision: str
    vision_identity: str
    llm: str
    llm_identity: str
    layer: int
    image_size: int
    image_tokens: int
    token: str
    token_id: int
    projector: str | None
    seed: int
    parameters: dict[str, int]


def compose(
    *,
    vision: str,
    llm: str,
    out: Path,
    image_size: int | None = None,
    layer: int = -2,
    token: str | None = None,
    projector: Path | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> Composed:
    """Write a model of transformers' LLaVA: the encoder, a connector of two layers, the language model.

    Before it is written the model answers once, and must give a text the very logits that the llm alone gives it.

    Args:
        vision: Folder or Hub id of a vision encoder, or of a model such as CLIP that has one.
        llm: Folder or Hub id of a language model with a chat template; a folder may hold one GGUF file.
        out: Folder to write, which must not exist.
        image_size: Height and width of pictures; None: as the encoder was trained.
        layer: Layer of the encoder whose output the connector reads; LLaVA's is the last but one.
        token: A reserved token of the llm that is to stand for pictures; None: ``<image>``, added where missing.
        projector: Safetensors with taught values of the connector.
        seed: Of a fresh connector.
        dtype: Of all weights; None: as the llm stores its own.

    Raises:
        HoldfastError: A part that is not what it should be, parts that do not fit, or ``out`` exists.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if out.exists() or out.is_symlink():
        raise HoldfastError("this exists already", file=out, remedy="choose another name for --out, or remove it")
    writer = read_llm(llm, dtype=dtype)
    tower = read_tower(vision, image_size=image_size, layer=layer, dtype=writer.model.dtype)
    identities = {"vision": model_identity(tower.model), "llm": model_identity(writer.model)}
    mark = place_token(writer, llm, token)
    model = _assembled(tower, writer, mark)
    if projector is None:
        connector.draw(model.model.multi_modal_projector, seed)
    else:
        connector.take(model.model.multi_modal_projector, projector, identities | {"layer": str(layer)})
    chat = _chat(tower, writer, mark)
    ends = chat.end_ids
    model.generation_config = writer.model.generation_config
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    model.generation_config.pad_token_id = chat.tokenizer.pad_token_id
    _try(model, chat, writer, tower)
    made = Composed(
        vision=_shown(vision),
        vision_identity=identities["vision"],
        llm=_shown(llm),
        llm_identity=identities["llm"],
        layer=layer,
        image_size=tower.image_size,
        image_tokens=tower.tokens,
        token=mark,
        token_id=model.config.image_token_id,
        projector=None if projector is None else projector.name,
        seed=seed,
        parameters={
            "vision": _count(model.model.vision_tower),
            "connector": _count(model.model.multi_modal_projector),
            "llm": _count(writer.model),
        },
    )
    with files.folder_beside(out) as partial:
        model.save_pretrained(partial)
        chat.processor.save_pretrained(partial)
        files.write_json(partial / RECORD, asdict(made))
    return made


def _assembled(tower: Tower, writer: Writer, mark: str) -> Any:
    """The model around the loaded parts themselves; only the connector is new, and not filled yet."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(
        vision_config=tower.model.config,
        text_config=writer.model.config,
        image_token_index=int(writer.tokenizer.convert_tokens_to_ids(mark)),
        image_seq_length=tower.tokens,
        vision_feature_layer=tower.layer,
        vision_feature_select_strategy=tower.strategy,
        tie_word_embeddings=bool(writer.model.config.tie_word_embeddings),
        dtype=writer.model.dtype,
    )
    config.vision_config.image_size = tower.model.config.image_size
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    inner, body = model.model, writer.model.get_decoder()
    for place, part in (("vision_tower", tower.model), ("language_model", body)):
        if type(part) is not type(getattr(inner, place)):
            raise HoldfastError(
                f"a LLaVA holds a {type(getattr(inner, place)).__name__} where these parts bring a "
                f"{type(part).__name__}",
                remedy="choose another encoder or language model, such as CLIP, SigLIP or DINOv2 and Llama or Qwen2",
            )
        setattr(inner, place, part)
    inner.multi_modal_projector.to_empty(device="cpu")
    inner.multi_modal_projector.to(writer.model.dtype)
    model.lm_head = writer.model.get_output_embeddings()
    return model.eval()


def _chat(tower: Tower, writer: Writer, mark: str) -> ChatProcessor:
    from transformers import LlavaProcessor

    tokenizer = writer.tokenizer
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template = with_pictures(writer.template, mark)
    processor = LlavaProcessor(
        image_processor=tower.processor(),
        tokenizer=tokenizer,
        patch_size=tower.patch_size,
        vision_feature_select_strategy=tower.strategy,
        chat_template=tokenizer.chat_template,
        image_token=mark,
        num_additional_image_tokens=tower.extra,
    )
    return ChatProcessor(processor)


def _try(model: Any, chat: ChatProcessor, writer: Writer, tower: Tower) -> None:
    """Ask once about a grey picture, and compare a text's logits with those of the llm alone."""
    grey = np.full((tower.image_size, tower.image_size, 3), 128, dtype=np.uint8)
    shown = Example("trial", (grey,), (Turn("What is this?", ("Grey.",)),))
    batch = chat.encode([shown], with_answers=False)
    marks = int((batch["input_ids"] == model.config.image_token_id).sum())
    if marks != tower.tokens:
        raise HoldfastError(
            f"a picture has {tower.tokens} features and {marks} tokens in the prompt",
            remedy="choose another image token with --token",
        )
    words = chat.tokenizer(WORDS, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        batch["pixel_values"] = batch["pixel_values"].to(model.dtype)
        seen = bool(torch.isfinite(model(**batch).logits).all())
        together, alone = model(input_ids=words).logits.float(), writer.model(input_ids=words).logits.float()
    if not seen or not torch.allclose(together, alone, rtol=1e-3, atol=1e-3):
        what = "gives a text other logits than the llm alone" if seen else "answers a picture with numbers that are not"
        raise HoldfastError(
            f"the model put together {what}, so {type(writer.model).__name__} does more than LLaVA has a place for",
            remedy="choose a model such as Llama or Qwen2 for --llm",
        )


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shown(name: str) -> str:
    """A Hub id as it is, and of a folder its own name: no path of this machine goes along."""
    folder = path_of(name)
    return folder.resolve().name if folder.is_dir() else name

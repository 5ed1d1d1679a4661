"""One way to load a model: a local folder, a Hub id, or ``pocket``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property

import torch
from safetensors import SafetensorError
from torch import nn

from holdfast import importing
from holdfast.config.schema import Load, Train
from holdfast.errors import HoldfastError
from holdfast.files.places import path_of
from holdfast.models.anatomy import Anatomy, resolve_anatomy
from holdfast.models.chat import ChatProcessor
from holdfast.models.configuration import check_generate, check_image_token, read_config, why_not_alone
from holdfast.models.identity import joined, model_identity, setup_parts
from holdfast.models.kernels import FLASH, no_flash
from holdfast.models.packed import show_words
from holdfast.models.processing import load_processor
from holdfast.models.quantised import check_stored, keep_still, packing, stored_components
from holdfast.models.shipped import SHIPPED
from holdfast.models.size import memory_of

POCKET = SHIPPED["pocket"]
"""The folder of the shipped model."""


@dataclass
class Loaded:
    """A model ready to be tuned or asked.

    Attributes:
        name: As it was asked for: ``pocket``, a folder or a Hub id.
        model: The transformers model.
        chat: Its processor and chat template: turns and pictures to tensors, and back.
        anatomy: Which parameters are its vision encoder, its connector and its llm.
    """

    name: str
    model: nn.Module
    chat: ChatProcessor
    anatomy: Anatomy

    @cached_property
    def identity(self) -> str:
        """Stands for the base weights; taken before any method touches them."""
        return model_identity(self.model)

    @cached_property
    def setup(self) -> dict[str, str]:
        """Stand for what answers depend on beside the weights: processor, tokenizer, chat template, generation."""
        return setup_parts(self.model, self.chat)

    @property
    def answering(self) -> str:
        """Stands for everything that answers depend on but the questions."""
        return joined(self.identity, *self.setup.values())

    def known_as(self, identity: str) -> bool:
        """Whether ``identity`` stands for these weights; older runs looked at a sample of large tensors."""
        return identity == self.identity or identity == self._sampled

    @cached_property
    def _sampled(self) -> str:
        return model_identity(self.model, sampled=True)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


def load_model(
    name: str,
    *,
    dtype: torch.dtype | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    attention: str = "auto",
    load: Load | None = None,
) -> Loaded:
    """Load ``name`` with its processor and resolve its anatomy.

    Args:
        name: ``pocket`` or another shipped model, a local folder, or a Hub id.
        dtype: Of the weights; default: bfloat16 on a GPU, float32 elsewhere.
        device: Default: a GPU if there is one.
        trust_remote_code: Let the model's own Python code run. Off unless the user turns it on.
        attention: Implementation by its name in transformers; ``auto``: the library's choice.
        load: In how many bits frozen matrices are kept; default: as they are stored.

    Raises:
        HoldfastError: Nothing there, a base that would be quantised twice, not an image-text-to-text model, or weights
            that are not safetensors.
    """
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoModelForImageTextToText
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place, load = model_place(name), load or Load()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype is None:
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    without = no_flash(device, dtype, fetched=True) if attention == FLASH else ""
    if without:
        remedy = "set speed.attention: auto, or pip install flash-attn on a machine with a GPU and train in bf16"
        raise HoldfastError(f"flash attention cannot be used: {without}", remedy=remedy, key="speed.attention")
    try:
        config = read_config(
            place,
            name,
            width=dtype.itemsize,
            memory=memory_of(device),
            trust_remote_code=trust_remote_code,
            bits=load.bits,
        )
        check_stored(config, name, load)
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING.get(type(config), None)  # imports its file while there are no weights
        importing.done()
        model, found = AutoModelForImageTextToText.from_pretrained(
            place,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            attn_implementation=None if attention == "auto" else attention,
            **packing(config, load, dtype, device, trust_remote_code=trust_remote_code),
        )
        if found["missing_keys"]:  # transformers would leave them random
            missing = sorted(found["missing_keys"])
            raise HoldfastError(
                f"the weights of model '{name}' lack {len(missing)} tensors, the first '{missing[0]}'",
                remedy="download it again; config.json and the safetensors files must belong together",
            )
        chat = ChatProcessor(load_processor(place, trust_remote_code=trust_remote_code))
        check_image_token(model, name, chat.image_token_ids())
        check_generate(model, name)
        chat.alone = why_not_alone(model)
    except HoldfastError:
        raise
    except Exception as error:  # whatever the code of transformers meets in a damaged file; tokenizers raise bare ones
        raise _explain(name, error) from error
    if getattr(model, "hf_quantizer", None) is not None:
        keep_still(model)  # and it stands where it was made
        show_words(model)
    else:
        model.to(device)
    model.eval()
    return Loaded(name, model, chat, resolve_anatomy(model))


def weights_in(train: Train) -> torch.dtype | None:
    """The dtype of the base's weights in a run: float32 where it computes so, else what :func:`load_model` takes.

    Without autocast float32 values that train would meet the half-precision ones of a frozen base.
    """
    return torch.float32 if train.precision == "fp32" else None


def stored_bits_of(name: str, *, trust_remote_code: bool = False) -> tuple[dict[str, int], set[str]]:
    """Bits a weight of the components that the checkpoint ``name`` holds quantised, and which of them are GPTQ's or
    AWQ's; nothing of it is loaded.

    Raises:
        HoldfastError: As :func:`load_model`.
    """
    try:
        return stored_components(model_place(name), name, trust_remote_code=trust_remote_code)
    except HoldfastError:
        raise
    except Exception as error:  # as above
        raise _explain(name, error) from error


def load_chat(name: str, *, trust_remote_code: bool = False) -> ChatProcessor:
    """The processor and chat template of a model, without its weights.

    Raises:
        HoldfastError: As :func:`load_model`.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    place = model_place(name)
    try:
        return ChatProcessor(load_processor(place, trust_remote_code=trust_remote_code))
    except HoldfastError:
        raise
    except Exception as error:  # as above
        raise _explain(name, error) from error


def model_place(name: str) -> str:
    """The folder or Hub id behind a model's name.

    Raises:
        HoldfastError: No such folder, or a folder without a model.
    """
    if name in SHIPPED:
        return str(SHIPPED[name])
    folder = path_of(name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            remedy = "give the folder that holds config.json and *.safetensors"
            if (folder / "config.yaml").is_file():
                remedy = "this is a Holdfast run; use holdfast eval or holdfast export on it"
            raise HoldfastError(f"'{name}' is not a model folder: config.json is missing", remedy=remedy)
        return str(folder)
    if name.startswith((".", "/", "~")) or name.count("/") != 1 or "\\" in name:
        raise HoldfastError(f"there is no model folder '{name}'", remedy="give a folder, a Hub id, or 'pocket'")
    return name


def _explain(name: str, error: Exception) -> HoldfastError:
    text = " ".join(str(error).split())
    if isinstance(error, SafetensorError):
        return HoldfastError(f"the weights of model '{name}' are damaged ({text[:100]})", remedy="download them again")
    if "safetensors" in text and ("no file" in text or "does not appear" in text or "not found" in text):
        return HoldfastError(
            f"model '{name}' has no safetensors weights",
            remedy="pickled checkpoints are refused because they can run code; convert them to safetensors",
        )
    if "Unrecognized configuration class" in text or "Unrecognized model" in text:
        return HoldfastError(
            f"'{name}' is not an image-text-to-text model",
            remedy="choose a model of that kind, such as LLaVA or Qwen-VL",
        )
    if isinstance(error, ImportError) and "torchvision" in text.lower():
        return HoldfastError(
            f"the processor or model of '{name}' needs torchvision",
            remedy="install it with pip install torchvision, in the version that belongs to your torch",
        )
    package = re.search(r"pip install (?:-\S+ )*['\"]?([\w-]+)", text)
    if isinstance(error, ImportError) and package:
        return HoldfastError(
            f"the processor or model of '{name}' needs a package that is not installed",
            remedy=f"install it with pip install {package[1]}",
        )
    if "quantiz" in text.lower() and re.search(r"\bGPU\b", text):
        return HoldfastError(
            f"the weights of model '{name}' are stored quantised in a way that needs a GPU ({text[:100]})",
            remedy="load it where there is one, or give the model before it was quantised",
        )
    if "does not support Flash Attention" in text:
        return HoldfastError(f"model '{name}' has no flash attention", remedy="set speed.attention: auto")
    if "trust_remote_code" in text:
        return HoldfastError(
            f"model '{name}' needs code of its own", remedy="read that code, then set trust_remote_code: true"
        )
    offline = os.environ.get("HF_HUB_OFFLINE") or "connect" in text.lower() or "offline" in text.lower()
    if path_of(name).is_dir() or name in SHIPPED:
        offline = False
    if path_of(name).is_dir() and re.search(r"Can't load (?:image|video) processor", text):
        return HoldfastError(
            f"the folder of model '{name}' does not say how pictures are prepared",
            remedy="copy preprocessor_config.json or processor_config.json from the model it was made of: tools that "
            "merge weights leave it out",
        )
    if offline or "not a valid model identifier" in text or "not a local folder" in text:
        return HoldfastError(
            f"model '{name}' is neither a local folder nor reachable on the Hub",
            remedy="check the name and the connection, or download it and give the folder",
        )
    return HoldfastError(f"model '{name}' cannot be loaded ({text[:300]})", remedy="check that its folder is complete")

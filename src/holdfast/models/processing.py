"""Loading a model's processor, also where a library that its images do not need is missing."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from holdfast.errors import HoldfastError


def load_processor(place: str, *, trust_remote_code: bool = False) -> Any:
    """The processor; families with a video slot get one without it where torchvision is missing.

    transformers refuses such processors altogether when their video part cannot be built, although images need
    none of it.

    Raises:
        HoldfastError: Its image part needs torchvision, or the folder has no processor that reads images.
    """
    from transformers import AutoProcessor, PreTrainedTokenizerBase

    try:
        found = AutoProcessor.from_pretrained(place, trust_remote_code=trust_remote_code)
    except (ImportError, ValueError, OSError, AttributeError, RecursionError) as error:
        # LLaVA-NeXT-Video's looks for its missing video part in itself, without an end.
        said = str(error)
        if not isinstance(error, RecursionError) and "orchvision" not in said and "video" not in said.lower():
            raise
        found = _without_video(place, trust_remote_code=trust_remote_code)
    if isinstance(found, PreTrainedTokenizerBase) or getattr(found, "tokenizer", None) is None:
        # The library gives whatever part it finds; texts without their images would then be trained on in silence.
        kind = "a tokenizer only" if isinstance(found, PreTrainedTokenizerBase) else f"{type(found).__name__} only"
        raise HoldfastError(
            f"the files of '{place}' name no processor for images and text: they make {kind}",
            remedy="add the processor_config.json or preprocessor_config.json that was published with the model, and "
            "its processor_class",
        )
    return found


def _without_video(place: str, *, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig, AutoTokenizer
    from transformers.models.auto.image_processing_auto import AutoImageProcessor
    from transformers.processing_utils import ProcessorMixin

    config = AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)
    kind = _class_of(place, config)
    stored, _ = kind.get_processor_dict(place)
    known = set(inspect.signature(kind.__init__).parameters) - {"image_processor", "tokenizer", "video_processor"}
    # The number of image tokens stands here; without it the class's own default would be used in silence.
    settings = {key: value for key, value in stored.items() if key in known}
    original = ProcessorMixin.check_argument_for_proper_class

    def without_video(self: Any, argument: str, value: Any) -> Any:
        left_out = argument in ("video_processor", "feature_extractor") and value is None
        return type(None) if left_out else original(self, argument, value)

    ProcessorMixin.check_argument_for_proper_class = without_video
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code)
        settings["chat_template"] = stored.get("chat_template") or tokenizer.chat_template
        image_processor = AutoImageProcessor.from_pretrained(place, backend="pil")
        missing = {name: None for name in ("video_processor", "feature_extractor") if name in _arguments(kind)}
        return kind(image_processor=image_processor, tokenizer=tokenizer, **missing, **settings)
    except (ImportError, AttributeError, ValueError) as error:
        wanted = isinstance(error, AttributeError) and "NoneType" in str(error)  # it asks its video part something
        if not wanted and "torchvision" not in str(error).lower():
            raise
        raise _needs_torchvision(kind.__name__, place) from error
    finally:
        ProcessorMixin.check_argument_for_proper_class = original


def _needs_torchvision(kind: str, place: str) -> HoldfastError:
    return HoldfastError(
        f"the {kind} of '{place}' cannot read images without torchvision",
        remedy="install it with pip install torchvision, in the version that belongs to your torch",
    )


def _arguments(kind: Any) -> set[str]:
    """What a processor class wants, or inherits, beside its settings."""
    return {*inspect.signature(kind.__init__).parameters, *(getattr(kind, "get_attributes", list)() or ())}


def _class_of(place: str, config: Any) -> Any:
    """The processor class that the files name, as the library looks for it, or else the one of the model's family.

    Taken from its own file: the library's front door has a placeholder instead where it thinks that torchvision is
    needed by a part that images do not use.
    """
    from transformers.image_processing_base import ImageProcessingMixin
    from transformers.models.auto.configuration_auto import model_type_to_module_name
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.tokenization_auto import get_tokenizer_config
    from transformers.processing_utils import ProcessorMixin

    def of_images() -> Any:
        try:
            return ImageProcessingMixin.get_image_processor_dict(place)[0]
        except OSError:  # no such file
            return {}

    readers: tuple[Callable[[], Any], ...] = (
        lambda: ProcessorMixin.get_processor_dict(place)[0],
        of_images,
        lambda: get_tokenizer_config(place),
    )
    named = (read().get("processor_class") for read in readers)
    name = next(filter(None, named), PROCESSOR_MAPPING_NAMES.get(config.model_type))
    for family, known in PROCESSOR_MAPPING_NAMES.items():
        if known == name:
            module = model_type_to_module_name(family)
            try:
                return getattr(importlib.import_module(f"transformers.models.{module}.processing_{module}"), name)
            except (ModuleNotFoundError, AttributeError) as error:
                if getattr(error, "name", None) == "torchvision":
                    raise _needs_torchvision(name, place) from error
                continue  # a family that borrows another's
    raise HoldfastError(
        f"the files of '{place}' name no processor that transformers knows" + (f" ('{name}')" if name else ""),
        remedy="add the processor_config.json that was published with the model",
    )

"""The library's ``generate``, and which of a model's generation settings our own decoding follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.inference.decoding import cache_argument
from holdfast.models.loading import Loaded
from holdfast.speed.decision import Decision

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "guidance_scale": (1,),
    "sequence_bias": (),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "remove_invalid_values": (False,),
    "exponential_decay_length_penalty": (),
    "suppress_tokens": (),
    "begin_suppress_tokens": (),
    "watermarking_config": (),
    "stop_strings": (),
    "max_time": (),
    "penalty_alpha": (0,),
    "dola_layers": (),
    "force_words_ids": (),
    "constraints": (),
}
"""Settings that change what greedy ``generate`` answers, and their values besides None at which they do not."""


def follows_settings(model: nn.Module) -> Decision:
    """Whether our own decoding answers as this model's settings ask, and not ``generate`` alone."""
    if cache_argument(model) is None:
        return Decision(False, f"{type(model).__name__} takes no key-value cache")
    settings = getattr(model, "generation_config", None)
    for name, neutral in _NEUTRAL.items():
        value = getattr(settings, name, None)
        if value is not None and value not in neutral:
            return Decision(False, f"generation_config sets {name}")
    return Decision(True, "its settings ask for greedy decoding and no more")


def repetition_penalty(model: nn.Module) -> float:
    """Of the model's generation settings; 1 is none."""
    return float(getattr(getattr(model, "generation_config", None), "repetition_penalty", None) or 1.0)


def end_ids(loaded: Loaded) -> list[int]:
    """What ends an answer: the tokenizer's end token and those the model's own generation settings add."""
    own = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
    more = own if isinstance(own, list) else [] if own is None else [own]
    return sorted({*loaded.chat.end_ids, *(int(token) for token in more)})


def generate(
    loaded: Loaded,
    examples: Sequence[Example],
    limit: int,
    *,
    streamer: Any = None,
    encoded: Mapping[str, Tensor] | None = None,
) -> list[tuple[str, bool]]:
    """The answers by the library, and whether each ran into the length limit.

    Args:
        loaded: The model.
        examples: What is asked; one, where a streamer listens.
        limit: Longest answer in tokens.
        streamer: The library's kind of listener, told every token as it is made.
        encoded: The examples as :meth:`holdfast.models.chat.ChatProcessor.encode` made them; default: made here.

    Raises:
        HoldfastError: An example cannot be encoded.
    """
    given = loaded.chat.encode(examples, with_answers=False) if encoded is None else encoded
    batch = {name: value.to(loaded.device, non_blocking=loaded.device.type == "cuda") for name, value in given.items()}
    ends = end_ids(loaded)
    try:
        produced = loaded.model.generate(  # type: ignore[operator]
            **batch,
            max_new_tokens=limit,
            do_sample=False,
            num_beams=1,
            eos_token_id=ends,
            pad_token_id=loaded.chat.tokenizer.pad_token_id,
            streamer=streamer,
        )
    except TypeError as error:
        if "argument" not in str(error):
            raise
        # BLIP's own generate names its end token itself; BLIP-2's has no answer without an image.
        raise HoldfastError(
            f"{type(loaded.model).__name__}.generate does not take what it is asked with ({error})",
            item=examples[0].id,
            remedy="choose a model that continues a chat by transformers' own generate, such as LLaVA or Qwen-VL",
        ) from error
    new = produced[:, batch["input_ids"].shape[1] :].cpu()
    stop = torch.tensor(ends)
    said = [loaded.chat.decode(row, thinking=bool(e.thoughts)) for row, e in zip(new, examples, strict=True)]
    return [(text, not bool(torch.isin(row, stop).any())) for text, row in zip(said, new, strict=True)]

"""The operations that training cannot do without, counted by ``torch.utils.flop_counter`` on tensors without values.

For each picture of a step with k questions: the encoder and the connector forward once; the llm forward and backward
over one row that holds the picture once and all k questions and answers; the head forward and backward at supervised
positions only. Attention is counted by formula, because the counter charges for pairs that a mask hides: a position
sees what stands before it in its own question, and the prefix. Backward is what the trained weights need and no more:
the gradient of activations, and weight gradients of what trains. The optimizer, norms and softmaxes are not counted.
A multiplication and an addition are two operations, so the measured rate of one large matrix product divides them into
seconds: no implementation on that machine and in that precision is faster than this floor, up to the cache, which
brings the encoder's share to nothing after the first epoch (``encoder=False``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from setting import Shape, llava_config

TRAINED = ("lora", "all", "last2")


def plain_shape(shape: Shape) -> Shape:
    """The shape as the counter wants it; the shipped model is too small to have a floor worth the name.

    Raises:
        SystemExit: It is the shipped model.
    """
    if shape.model == "pocket":
        raise SystemExit("floors are counted for --model llava only")
    return shape


def count(
    shape: Shape,
    branches: Sequence[int],
    supervised: int,
    *,
    prefix: int,
    trained: str = "lora",
    rank: int = 16,
    encoder: bool = True,
) -> dict[str, float]:
    """Operations of one picture with its questions, by part.

    Args:
        shape: Of the model.
        branches: Tokens of each question with its answer, without the prefix.
        supervised: Answer tokens of all of them.
        prefix: Tokens that the questions share: the picture and what stands before it.
        trained: ``lora`` on attention and MLP, ``all`` of those matrices (a mask needs the dense gradient), or
            everything in the last two layers (``last2``).
        rank: Of LoRA.
        encoder: Whether the picture has to go through the encoder.
    """
    shape = plain_shape(shape)
    seen, model = _encoder(shape) if encoder else 0.0, _llm(shape, trained, rank)
    layers, width = shape.layers, shape.width
    matrices = _counted(lambda: _pass(model, prefix + sum(branches), width))
    pairs = prefix * (prefix + 1) / 2 + sum(length * prefix + length * (length + 1) / 2 for length in branches)
    reached = 2 if trained == "last2" else layers
    attention = 4 * width * pairs * (layers + 2 * reached)
    head = 2 * 2 * width * shape.vocabulary * supervised
    parts = {"encoder": seen, "llm": matrices, "attention": attention, "head": float(head)}
    return parts | {"total": sum(parts.values())}


def lengths(loaded: Any, examples: Sequence[Any], shape: Shape) -> tuple[int, list[int], int]:
    """Prefix, branch lengths and supervised tokens of the questions of one picture."""
    from setting import as_text

    rows = [as_text(loaded, example) for example in examples]
    tokens = loaded.chat.tokenizer
    answers = [len(tokens(answer, add_special_tokens=False)["input_ids"]) for _, answer in rows]
    prompts = [tokens(prompt, add_special_tokens=False)["input_ids"] for prompt, _ in rows]
    mark = next(iter(loaded.chat.image_token_ids()))
    before = prompts[0].index(mark)
    branches = [len(prompt) - before - 1 + answer for prompt, answer in zip(prompts, answers, strict=True)]
    return before + shape.image_tokens, branches, sum(answers)


@lru_cache(maxsize=8)
def _encoder(shape: Shape) -> float:
    """Tower up to the layer whose output is used, and connector, forward: matrices as counted, attention included."""
    import torch
    from transformers import CLIPVisionModel

    config = llava_config(shape)
    vision = config.vision_config
    # LLaVA takes the last layer but one, so the last layer is work that nobody needs.
    vision.num_hidden_layers += config.vision_feature_layer + 1
    vision._attn_implementation = "eager"
    with torch.device("meta"):
        tower = CLIPVisionModel(vision)
        pixels = torch.empty(1, 3, shape.image, shape.image)
        counted = _counted(lambda: _no_grad(tower, pixels), attention=True)
    hidden, width = vision.hidden_size, shape.width
    return counted + 2 * shape.image_tokens * (hidden * width + width * width)


def _no_grad(module: Any, *inputs: Any) -> None:
    import torch

    with torch.no_grad():
        module(*inputs)


@lru_cache(maxsize=8)
def _llm(shape: Shape, trained: str, rank: int) -> Any:
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import LlamaModel

    if trained not in TRAINED:
        raise SystemExit(f"floors know {', '.join(TRAINED)}, not {trained}")
    config = llava_config(shape).text_config
    config._attn_implementation = "eager"
    config.vocab_size = 8  # the embedding multiplies nothing
    with torch.device("meta"):
        model = LlamaModel(config).requires_grad_(False)
        if trained == "lora":
            model = inject_adapter_in_model(LoraConfig(r=rank, target_modules="all-linear"), model)
    for number, block in enumerate(model.layers):
        if trained == "all" or (trained == "last2" and number >= shape.layers - 2):
            block.requires_grad_(True)
    return model


def _pass(model: Any, length: int, width: int) -> None:
    import torch

    with torch.device("meta"):
        # A finished mask, because making one looks at values.
        inputs, mask = torch.empty(1, length, width), torch.zeros(1, 1, length, length)
        hidden = model(inputs_embeds=inputs, attention_mask=mask, use_cache=False).last_hidden_state
        hidden.sum().backward()


def _counted(work: Any, *, attention: bool = False) -> float:
    """Operations of ``work``; products of two activations only where ``attention`` is wanted."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    total = 0.0
    for operation, number in counter.get_flop_counts()["Global"].items():
        name = str(operation)
        if attention or not ("bmm" in name or "attention" in name):
            total += number
    return total

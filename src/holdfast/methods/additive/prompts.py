"""Learned prompts in front of everything that the llm reads: prompt tuning and P-tuning."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.additive.front import AtAttention, Pairs, drawn_words, embedded
from holdfast.methods.contract import Artifact, Card, Context, Options
from holdfast.models.anatomy import Component
from holdfast.values import JSON, Keywords


class Table(nn.Module):
    """The prompt itself, ``[depth, tokens, width]``, trained as it is."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(shape))

    def forward(self) -> Tensor:
        return self.table


class SoftPrompts(AtAttention):
    """The engine of prompts: a method's file says how the prompt is written.

    A prompt stands in front of the first token, where nothing comes before it; so its keys and values are the same in
    front of every row. They are computed in a pass of the prompt alone and joined in each layer, which is what a longer
    row would compute. Layers that look back over a window see the prompt always.
    """

    prompt: nn.Module

    def build(self, width: int, context: Context) -> nn.Module:
        """What writes the prompt ``[depth, tokens, width]``, with the values that training begins with."""
        raise NotImplementedError

    def attach(self, component: Component, context: Context) -> None:
        self.hang(component)
        self.whole_blocks()
        device = next(self.decoder.parameters()).device
        self.prompt = self.build(self.width, context).to(device)
        self.switch_on()

    @property
    def width(self) -> int:
        """Of a token."""
        model: Any = self.component.model
        return int(model.get_input_embeddings().embedding_dim)

    @property
    def tokens(self) -> int:
        return int(self.options.tokens)

    def write(self, inputs: Keywords) -> Pairs:
        written: Tensor = self.prompt()
        return self.run_alone(written[:, None])

    def drawn(self, context: Context) -> Tensor:
        """As many words as the prompt has tokens, at random, ``[tokens, width]``."""
        return embedded(self.component, drawn_words(self.component, self.tokens, context.generator))

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.prompt.named_parameters())

    def saved(self) -> Artifact:
        return self._artifact({"table": self.prompt()}, **self._as_peft())

    def _as_peft(self) -> JSON:
        """What plain PEFT needs to read the prompt, where it has the same form."""
        return {}

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.hang(component)
        table = artifact.tensors["table"]
        self._check(table)
        self.prompt = Table(*table.shape).to(next(self.decoder.parameters()).device).requires_grad_(False)
        self.load(artifact.tensors, {})
        self.switch_on()

    def _check(self, table: Tensor) -> None:
        """Refuse a saved prompt ``[depth, tokens, width]`` of another model."""
        if table.shape[-1] != self.width or (table.ndim == 3 and len(table) > len(self.component.layers())):
            raise HoldfastError(
                f"the artifact holds a prompt of {tuple(table.shape)}, which this model has no place for",
                remedy="load it on the model it was trained on",
            )


class PromptOptions(Options):
    """Length, depth and start."""

    source = "arXiv 2104.08691; KaiyangZhou/CoOp for the number of tokens and the deviation"
    tokens: int = Field(default=16, gt=0, description="virtual tokens in front")
    depth: int = Field(default=1, gt=0, description="blocks that have tokens of their own in these places")
    start: Literal["words", "normal"] = Field(
        default="words", description="embeddings of words drawn at random, or a normal draw; deeper blocks: the latter"
    )
    deviation: float = Field(default=0.02, gt=0, description="of the normal draw")
    text: str | None = Field(default=None, min_length=1, description="words to start from, repeated or cut to length")

    @model_validator(mode="after")
    def _each_acts(self) -> PromptOptions:
        if self.text is not None and self.start == "normal":
            raise ValueError("a text to start from is for start: words")
        if self.deviation != 0.02 and self.start == "words" and self.depth == 1:
            raise ValueError("a deviation is for start: normal, or for a depth above 1")
        return self


class PromptTuning(SoftPrompts):
    """Trained vectors that stand in front of everything the llm reads: CoOp's context, without its classes.

    With ``depth`` above 1 the first blocks have trained vectors each in these places, as the deep prompts of MaPLe and
    PromptSRC. It does not start at the base, because every token sees the prompt.
    """

    card = Card(
        name="prompt_tuning",
        paradigm="additive",
        family="prompt",
        summary="learned vectors in front of everything that the llm reads",
        paper="arXiv 2104.08691",
        year=2021,
        mergeable=False,
        official_code="KaiyangZhou/CoOp",
        extra_inference_cost="a longer key-value cache",
        default_lr=3e-2,
        checked_against="a longer row of the plain model, over several steps; plain PEFT",
    )
    Settings: ClassVar[type[Options]] = PromptOptions

    def build(self, width: int, context: Context) -> nn.Module:
        options, blocks = self.options, len(self.component.layers())
        if options.depth > blocks:
            raise HoldfastError(f"depth {options.depth} is above the {blocks} blocks of the llm", remedy="lower depth")
        table = Table(options.depth, options.tokens, width)
        with torch.no_grad():
            table.table.normal_(0, options.deviation, generator=context.generator)
            if table.table.is_meta:  # counted from shapes, there are no words to start from
                return table
            if options.text is not None:
                table.table[0] = embedded(self.component, self._said(options.text, context))
            elif options.start == "words":
                table.table[0] = self.drawn(context)
        return table

    def _said(self, text: str, context: Context) -> list[int]:
        if context.tokenizer is None:
            raise HoldfastError(
                f"method '{self.card.name}' starts from a text and was given no tokenizer", remedy="leave text out"
            )
        ids = list(context.tokenizer(text, add_special_tokens=False)["input_ids"])
        if not ids:
            raise HoldfastError(f"the text {text!r} has no tokens", remedy="write some words")
        return (ids * (-(-self.tokens // len(ids))))[: self.tokens]

    def _as_peft(self) -> JSON:
        if self.options.depth > 1:
            return {}
        config = {"num_virtual_tokens": self.tokens, "token_dim": self.width, "num_transformer_submodules": 1}
        return {"peft_prompt": {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", **config}}


class PTuningOptions(Options):
    """Length and the network that writes the prompt."""

    source = "huggingface/peft; THUDM/P-tuning"
    tokens: int = Field(default=20, gt=0, description="virtual tokens in front")
    encoder: Literal["mlp", "lstm"] = Field(
        default="mlp", description="three linear layers, or a bidirectional LSTM of two layers before two of them"
    )
    hidden: int | None = Field(default=None, gt=0, description="width inside; the llm's if not given")


class _Encoder(nn.Module):
    """``[tokens, width]`` from an embedding: by an MLP with two ReLUs, or by an LSTM and an MLP with one."""

    def __init__(self, width: int, options: PTuningOptions, generator: torch.Generator | None) -> None:
        super().__init__()
        hidden = options.hidden or width
        self.embedding = nn.Parameter(torch.empty(options.tokens, width))
        self.lstm: nn.LSTM | None = None
        if options.encoder == "lstm":
            self.lstm = nn.LSTM(width, hidden, num_layers=2, bidirectional=True, batch_first=True)
            sizes = [2 * hidden, 2 * hidden, width]
        else:
            sizes = [width, hidden, hidden, width]
        layers = [nn.Linear(size, following) for size, following in pairwise(sizes)]
        self.mlp = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
        with torch.no_grad():
            self.embedding.normal_(generator=generator)
            for layer in layers:
                for parameter in layer.parameters():
                    parameter.uniform_(-(layer.in_features**-0.5), layer.in_features**-0.5, generator=generator)
            for parameter in () if self.lstm is None else self.lstm.parameters():
                parameter.uniform_(-(hidden**-0.5), hidden**-0.5, generator=generator)

    def forward(self) -> Tensor:
        table: Tensor = self.embedding[None]
        with torch.autocast(table.device.type, enabled=False):  # what is saved is what was trained
            if self.lstm is not None:
                table = self.lstm(table)[0]
            written: Tensor = self.mlp(table)
        return written


class PTuning(SoftPrompts):
    """A prompt that a small network writes while it trains; only the prompt itself is saved."""

    card = Card(
        name="p_tuning",
        paradigm="additive",
        family="prompt",
        summary="a prompt in front, written by a small network",
        paper="arXiv 2103.10385",
        year=2021,
        mergeable=False,
        official_code="THUDM/P-tuning",
        extra_inference_cost="a longer key-value cache",
        default_lr=1e-3,
        checked_against="a longer row of the plain model, over several steps",
    )
    Settings = PTuningOptions

    def build(self, width: int, context: Context) -> nn.Module:
        return _Encoder(width, self.options, context.generator)

    def _as_peft(self) -> JSON:
        config = {"num_virtual_tokens": self.tokens, "token_dim": self.width, "num_transformer_submodules": 1}
        return {"peft_prompt": {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", **config}}

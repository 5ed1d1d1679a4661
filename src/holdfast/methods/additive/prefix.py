"""Prefix tuning: learned keys and values that every token of the llm sees in every attention layer."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.additive.front import AtAttention, Pairs, drawn_words, embedded, geometry
from holdfast.methods.contract import Artifact, Card, Context, Options
from holdfast.models.anatomy import Component
from holdfast.values import JSON, Keywords


class PrefixOptions(Options):
    """Number of virtual tokens and whether they are written through a small network while training."""

    source = "alenai97/PEFT-MLLM"
    tokens: int = Field(default=20, gt=0, description="virtual tokens in front")
    reparameterize: bool = Field(default=False, description="embedding, Linear, tanh, Linear (the study's LLaVA code)")
    start: Literal["words", "normal"] | None = Field(
        default=None,
        description="what the llm makes of words drawn at random (the paper's best start), or a normal draw; words, if "
        "neither a deviation nor a network is given and the llm runs on text alone",
    )
    deviation: float | None = Field(
        default=None, gt=0, description="of the normal draw; 1 if not given (the release's)"
    )

    @model_validator(mode="after")
    def _one_start(self) -> PrefixOptions:
        if self.start == "words" and (self.deviation is not None or self.reparameterize):
            raise ValueError("start: words is for a table that is trained as it is, without a deviation")
        return self

    @property
    def by_words(self) -> bool:
        """Whether training begins with what the llm makes of words."""
        return self.start == "words" or (self.start is None and self.deviation is None and not self.reparameterize)


class Prefix(nn.Module):
    """The table ``[tokens, 2 * layers * width]``, stored or written by the reparametrisation network."""

    def __init__(self, options: PrefixOptions, hidden: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.network: nn.Module | None = None
        first = hidden if options.reparameterize else width
        self.table = nn.Parameter(torch.empty(options.tokens, first))
        with torch.no_grad():
            self.table.normal_(0, options.deviation or 1.0, generator=generator)
            if options.reparameterize:
                self.network = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, width))
                for parameter in self.network.parameters():
                    bound = hidden**-0.5
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self) -> Tensor:
        return self.table if self.network is None else torch.as_tensor(self.network(self.table))


class PrefixTuning(AtAttention):
    """Puts learned keys and values before those of the text, in each self-attention layer of the llm.

    Prefix keys carry no rotation and real tokens count their positions from the prefix's length on, image tokens
    included (arXiv 2406.05130). Only the table is saved; a reparametrisation network is folded into it. Layers that
    are no softmax self-attention (linear attention, convolutions, Mllama's cross-attention) have no prefix.
    """

    card = Card(
        name="prefix",
        paradigm="additive",
        family="prompt",
        summary="learned keys and values in front of every layer",
        paper="arXiv 2101.00190",
        year=2021,
        mergeable=False,
        official_code="alenai97/PEFT-MLLM",
        extra_inference_cost="a longer key-value cache",
        default_lr=1e-5,
        checked_against="published parameter counts; brute-force attention",
    )

    Settings = PrefixOptions
    restoring = False

    @property
    def default_lr(self) -> float:
        """The study's rate belongs to its reparametrised form; a table of its own hardly moves at that."""
        return self.card.default_lr if self.options.reparameterize else 1e-2

    def attach(self, component: Component, context: Context) -> None:
        self.hang(component)
        self.heads, self.head_width = geometry(self.attention, self.config, self.card.name)
        width = 2 * len(self.attention) * self.heads * self.head_width
        device = next(self.decoder.parameters()).device
        self.prefix = Prefix(self.options, int(self.config.hidden_size), width, context.generator).to(device)
        self.switch_on()
        if self.options.by_words and not self.prefix.table.is_meta and not self.restoring:
            ids = drawn_words(component, self.options.tokens, context.generator)
            with torch.no_grad():
                try:
                    pairs = self.run_alone(embedded(component, ids)[None, None])
                except ValueError as error:  # Idefics: the llm does not run without a picture
                    if self.options.start is None:
                        return
                    name = type(component.model).__name__
                    problem = f"method 'prefix' cannot start from words: the llm of {name} does not run on text alone"
                    raise HoldfastError(problem, remedy="set start: normal") from error
                rows = [part[0].transpose(0, 1).flatten(1) for pair in pairs for part in pair]
                self.prefix.table.copy_(torch.cat(rows, dim=1))

    @property
    def tokens(self) -> int:
        """Length of the prefix."""
        return int(self.options.tokens)

    def write(self, inputs: Keywords) -> Pairs:
        """From the table ``[tokens, layers * 2 * heads * width]``."""
        layers = len(self.attention)
        flat: Tensor = self.prefix().view(self.options.tokens, layers, 2, self.heads, self.head_width)
        return [(keys[None], values[None]) for keys, values in flat.permute(1, 2, 3, 0, 4)]

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return dict(self.prefix.named_parameters())

    def added(self) -> int:
        return int(2 * len(self.attention) * self.heads * self.head_width * self.options.tokens)

    def saved(self) -> Artifact:
        return self._artifact({"table": self.prefix()}, **self._as_peft())

    def _as_peft(self) -> JSON:
        """What plain PEFT needs to read the table, where every block has a prefix."""
        if len(self.attention) != len(self.component.layers()):
            return {}
        config = {
            "num_virtual_tokens": self.tokens,
            "token_dim": self.heads * self.head_width,
            "encoder_hidden_size": 0,
        }
        config |= {"num_transformer_submodules": 1, "num_attention_heads": self.heads}
        config |= {"num_layers": len(self.attention), "prefix_projection": False}
        return {"peft_prompt": {"peft_type": "PREFIX_TUNING", "task_type": "CAUSAL_LM", **config}}

    def restore(self, component: Component, artifact: Artifact) -> None:
        self.options = self.options.model_copy(update={"reparameterize": False})
        self.restoring = True
        self.attach(component, Context(torch.Generator()))
        table = artifact.tensors["table"]
        if table.shape != self.prefix.table.shape:
            self.detach()
            raise HoldfastError(
                f"the artifact holds a prefix of {tuple(table.shape)}, which this model has no place for",
                remedy="load it on the model it was trained on",
            )
        self.load(artifact.tensors, {})
        self.prefix.requires_grad_(False)

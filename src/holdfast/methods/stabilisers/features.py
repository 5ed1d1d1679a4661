"""Anchors in the space of features: LDIFS, and the terms of KgCoOp and PromptSRC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, l1_loss, normalize
from torch.utils.hooks import RemovableHandle

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Method, Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, added, divergence
from holdfast.models.anatomy import decoder_of
from holdfast.speed.blocks import blocks_of


class FeatureAnchor(Stabiliser):
    """Hears what some modules give for the batch in training and for the base, where answer tokens are predicted."""

    wants_logits = True
    asks_base = True

    def taps(self, model: nn.Module) -> Sequence[nn.Module]:
        """The modules that are listened to."""
        return [decoder_of(model)]

    def apart(self, now: Sequence[Tensor], then: Sequence[Tensor], seen: Seen) -> Tensor:
        """The term of one batch from each tap's features ``[tokens, width]``, float32, summed over its tokens."""
        raise NotImplementedError

    def check(self, methods: Mapping[str, Method]) -> None:
        super().check(methods)
        self.taps(next(iter(methods.values())).component.model)

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        model = next(iter(methods.values())).component.model
        self.heard: dict[int, Tensor] = {}
        self.hooks: list[RemovableHandle] = [
            tap.register_forward_hook(self._hear(place)) for place, tap in enumerate(self.taps(model))
        ]

    def _hear(self, place: int) -> Any:
        def hear(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            hidden = getattr(output, "last_hidden_state", output)
            self.heard[place] = hidden if isinstance(hidden, Tensor) else hidden[0]

        return hear

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        now = self._at(seen)
        logits = seen.base()
        then = self._at(seen)
        self.then_logits = logits
        return self.apart(now, then, seen)

    def _at(self, seen: Seen) -> list[Tensor]:
        """What was heard last, where answer tokens are predicted; virtual tokens stand in front."""
        places = seen.batch.answer_places
        heard = [self.heard[place] for place in sorted(self.heard)]
        self.heard = {}
        return [hidden[:, -places.shape[1] :][places.to(hidden.device)].float() for hidden in heard]

    def before_step(self, step: int, trainable: Mapping[str, nn.Parameter]) -> None:
        self.heard = {}  # blocks that are computed again in the backward pass are heard again

    def end(self) -> None:
        for hook in self.hooks:
            hook.remove()


class AnchoredBlocks(Options):
    """How hard, and in which blocks."""

    source = "omegafragger/ldifs_code"
    strength: float = Field(default=10.0, ge=0, description="lambda; the paper searches it")
    blocks: tuple[int, ...] | None = Field(default=None, description="of the llm, from 0; default: all")


class Ldifs(FeatureAnchor):
    """``strength * mean over blocks and features of (h / |h| - h0 / |h0|)^2`` of the llm's blocks at the answer tokens,
    averaged as the answer loss is.

    The release compares all positions of an image encoder. Costs the base's forward pass a batch.
    """

    card = StabiliserCard(
        name="ldifs",
        family="features",
        summary="distance of the blocks' features from the base's",
        paper="arXiv 2308.13320",
        year=2024,
        official_code="omegafragger/ldifs_code",
        checked_against="hidden states of transformers, by NumPy",
    )
    Settings = AnchoredBlocks

    def taps(self, model: nn.Module) -> Sequence[nn.Module]:
        blocks = blocks_of(model)
        wanted = self.options.blocks if self.options.blocks is not None else range(len(blocks))
        missing = [place for place in wanted if not 0 <= place < len(blocks)]
        if missing:
            raise HoldfastError(
                f"stabiliser 'ldifs' is to look at block {missing[0]}, and the llm has {len(blocks)}",
                remedy=f"name blocks from 0 to {len(blocks) - 1}",
            )
        return [blocks[place] for place in wanted]

    def apart(self, now: Sequence[Tensor], then: Sequence[Tensor], seen: Seen) -> Tensor:
        pairs = zip(now, then, strict=True)
        terms = [(normalize(h, dim=-1) - normalize(h0, dim=-1)).square().mean(dim=-1).sum() for h, h0 in pairs]
        return added(terms) * (float(self.options.strength) / len(terms))


class Guidance(Options):
    """How hard."""

    source = "htyao89/KgCoOp"
    strength: float = Field(default=8.0, ge=0, description="lambda")


class KgCoOp(FeatureAnchor):
    """``strength * (1 - cos(h, h0))`` of the llm's last hidden state ``h`` at every answer token.

    In the paper ``h`` is the text feature of a class prompt. Costs the base's forward pass a batch.
    """

    card = StabiliserCard(
        name="kgcoop",
        family="features",
        summary="the cosine of the last hidden state to the base's",
        paper="arXiv 2303.13283",
        year=2023,
        official_code="htyao89/KgCoOp",
        checked_against="hidden states of transformers, by NumPy",
    )
    Settings = Guidance

    def apart(self, now: Sequence[Tensor], then: Sequence[Tensor], seen: Seen) -> Tensor:
        return (1 - cosine_similarity(now[0], then[0], dim=-1)).sum() * float(self.options.strength)


class Agreement(Options):
    """How hard each of the agreements is."""

    source = "muzairkhattak/PromptSRC"
    features: float = Field(default=25.0, ge=0, description="of the mean absolute difference of last hidden states")
    logits: float = Field(default=1.0, ge=0, description="of the divergence from the base's answers")


class PromptSRC(FeatureAnchor):
    """``features * mean |h / |h| - h0 / |h0|| + logits * KL(base || tuned)`` at every answer token, with ``h`` the last
    hidden state of the llm.

    The paper compares text features, image features (by 10) and class logits of CLIP, and averages the prompts over
    epochs by Gaussian weights; here one hidden state takes both features' place, and nothing is averaged. Costs the
    base's forward pass a batch.
    """

    card = StabiliserCard(
        name="promptsrc",
        family="features",
        summary="last hidden state and answers agree with the base's",
        paper="arXiv 2307.06948",
        year=2023,
        official_code="muzairkhattak/PromptSRC",
        checked_against="hidden states of transformers, by NumPy",
    )
    Settings = Agreement

    def apart(self, now: Sequence[Tensor], then: Sequence[Tensor], seen: Seen) -> Tensor:
        own, base = normalize(now[0], dim=-1), normalize(then[0], dim=-1)
        features = l1_loss(own, base, reduction="sum") / own.shape[-1]
        answers = divergence(seen.logits, self.then_logits)
        return features * float(self.options.features) + answers * float(self.options.logits)

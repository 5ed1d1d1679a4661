"""Selective token masking (arXiv 2501.14315): answer tokens that surprise the base are not learned."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from holdfast.methods.contract import Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard


class Surprise(Options):
    """From when on a token counts as a surprise."""

    source = "appier-research/robust-llm-finetunes"
    threshold: float = Field(default=2.5, ge=1, description="perplexity of the base above which a token is masked")


class TokenMasking(Stabiliser):
    """Takes out of the loss the answer tokens ``y`` with ``1 / p_base(y) > threshold`` and averages over those of the
    batch that are left; a batch of nothing but surprises teaches nothing.

    The release measures the perplexities once before training. Costs the base's forward pass a batch. Short answers are
    mostly surprises: then this leaves little to learn.
    """

    card = StabiliserCard(
        name="token_masking",
        family="loss",
        summary="answer tokens of high perplexity under the base are not learned",
        paper="arXiv 2501.14315",
        year=2025,
        official_code="appier-research/robust-llm-finetunes",
        checked_against="a loss with masked labels",
    )
    Settings = Surprise
    wants_logits = True
    asks_base = True

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        kept = seen.losses(seen.base()).exp() <= self.options.threshold
        losses = seen.losses(seen.logits)
        term: Tensor = (losses * kept).sum() * (len(kept) / max(int(kept.sum()), 1)) - losses.sum()
        return term

"""Compare shared rows with separate ones on the model at hand before they are relied on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from holdfast.data.examples import Example
from holdfast.models.anatomy import output_head
from holdfast.models.batch import Batch
from holdfast.speed.decision import Decision
from holdfast.speed.head import hidden_at, logits_at
from holdfast.speed.sharing.batcher import Batcher
from holdfast.speed.sharing.rows import by_images
from holdfast.speed.verified import is_verified, mark_verified

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}
"""Largest deviation of a logit, as a share of the largest logit; half precision rounds more than that."""

AT_ONCE = 32
"""Tokens whose logits are made together: those of two long answers may be larger than a whole step."""


VERIFIED = Decision(True, "compared with separate rows")


@torch.no_grad()
def verify_sharing(batcher: Batcher, examples: Sequence[Example]) -> Decision:
    """Whether shared rows give the answers of separate rows.

    Args:
        batcher: That shares.
        examples: What it is to be used for; the first two about one image are compared.
    """
    chosen = some(examples)
    packed = batcher.pack(chosen)
    if packed is None:
        return Decision(False, "no two examples of a batch show the same image and begin alike")
    return _compared(batcher, chosen, packed, "shared rows")


@torch.no_grad()
def verify_filling(batcher: Batcher, examples: Sequence[Example]) -> Decision:
    """Whether rows of different images behind each other give the answers of separate rows.

    Args:
        batcher: That lays them so.
        examples: Two of them.
    """
    each = [[index] for index in range(len(examples))]
    packed = batcher.packed(examples, batcher.rows(examples), each, [list(range(len(examples)))])
    what = "rows told by their beginnings" if batcher.by_boundaries else "filled rows"
    return _compared(batcher, examples, batcher.place(packed), what)


def _compared(batcher: Batcher, chosen: Sequence[Example], packed: Batch, what: str) -> Decision:
    loaded = batcher.loaded
    if is_verified(loaded.model, what):
        return VERIFIED
    plain = batcher.separate(chosen)
    # A row of its own ends with what its branch holds; only there are logits compared, and made.
    counts = torch.tensor([int((packed.owners == index).sum()) for index in range(len(chosen))])[:, None]
    kept = plain.text["attention_mask"]
    behind = kept.flip(1).cumsum(1).flip(1)  # tokens from here on
    own = (kept != 0) & (behind <= counts)
    plain = replace(plain, owner=torch.arange(len(chosen))[:, None].expand_as(own).masked_fill(~own, -1))
    training = loaded.model.training
    loaded.model.eval()
    try:
        worst = _worst(batcher, packed, plain, len(chosen))
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
        said = " ".join(str(error).split())[:120]
        return Decision(False, f"{type(loaded.model).__name__} does not take {what} ({said})")
    finally:
        loaded.model.train(training)
    allowed = TOLERANCE.get(next(loaded.model.parameters()).dtype, 5e-2)
    if torch.is_autocast_enabled(loaded.device.type):
        allowed = 5e-2
    if worst <= allowed:
        mark_verified(loaded.model, what)
        return VERIFIED
    return Decision(
        False, f"{type(loaded.model).__name__} gives other logits in {what} (by {worst:.2g} of the largest)"
    )


def some(examples: Sequence[Example]) -> list[Example]:
    """Two questions about one image, the first that has several."""
    pair = next((group[:2] for group in by_images(examples) if len(group) > 1), [])
    return [examples[index] for index in pair]


def _worst(batcher: Batcher, packed: Batch, plain: Batch, count: int) -> float:
    """The largest deviation of a logit in a branch, as a share of the largest logit there; NaN where one is NaN."""
    shared, alone = (_branches(batcher, batch, count) for batch in (packed, plain))
    shares = []
    for mine, right in zip(shared, alone, strict=True):
        deviation, largest = [], []
        for one, other in zip(_in_pieces(mine), _in_pieces(right), strict=True):
            deviation.append((one - other).abs().max())
            largest.append(other.abs().max())
        shares.append(torch.stack(deviation).max() / torch.stack(largest).max().clamp(min=1e-6))
    return float(torch.stack(shares).max())


Branch = tuple[nn.Module, Tensor]
"""The head and what it gets in one branch ``[tokens, width]``."""


def _branches(batcher: Batcher, batch: Batch, count: int) -> list[Branch]:
    """Each example's own branch; its logits with nothing to be applied where the head cannot be had by itself."""
    model = batcher.loaded.model
    batch = batch.to(batcher.loaded.device)
    inputs, places = batch.inputs(model), batch.owners >= 0
    head = output_head(model)
    found = hidden_at(model, inputs, places)
    if head is None or found is None:
        head, states = nn.Identity(), logits_at(model, inputs, places)
    else:
        states = found[0]
    whose = batch.owners[places]
    return [(head, states[whose == index]) for index in range(count)]


def _in_pieces(branch: Branch) -> Iterator[Tensor]:
    """Its logits, a few tokens at a time."""
    head, states = branch
    return (head(piece).float() for piece in states.split(AT_ONCE))

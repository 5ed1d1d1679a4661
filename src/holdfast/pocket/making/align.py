"""Stage 2, the connector: what the projector says of a patch should point at the embeddings of the right words.

Without it the decoder learns to look up by colour and hardly ever by shape or by both: the words of a question must
first mean the same direction as what they name in the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.pocket.making.optimise import Optimiser, Progress
from holdfast.pocket.making.packing import encode
from holdfast.pocket.making.parts import parts_of
from holdfast.pocket.making.pool import Labels, Picture, make_labels
from holdfast.pocket.making.tower import EMPTY_WEIGHT
from holdfast.pocket.words import CELLS, CHARACTERS, COLORS, PATTERNS, SHAPES

_WORDS: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "color": tuple(COLORS),
    "character": tuple(CHARACTERS),
    "pattern": PATTERNS,
    "sketch": tuple(CHARACTERS),
}

_PLACES = ("top", "bottom", "left", "right", "center")


def _place_targets() -> tuple[Tensor, Tensor]:
    """The nine patches that tell a cell, and for each how its place words share the probability ``[9, 5]``."""
    patches = [4 * row + column for row in (0, 1, 3) for column in (0, 1, 3)]
    shares = torch.tensor([[float(word in cell.split()) for word in _PLACES] for cell in CELLS])
    return torch.tensor(patches), shares / shares.sum(dim=1, keepdim=True)


def train_connector(
    model: Any,
    features: Tensor,
    pictures: list[Picture],
    *,
    steps: int,
    lr: float,
    batch: int,
    seed: int,
    progress: Progress,
) -> None:
    """Train projector and word embeddings (in place) on cached features ``[n, 16, 96]``.

    At every patch the dot products with the words of a kind are logits; "nothing" is a vector that is thrown away.
    """
    torch.manual_seed(seed)
    labels = make_labels(pictures)
    parts = parts_of(model)
    embedding, projector = parts.decoder.embed_tokens, parts.connector
    width = embedding.embedding_dim
    ids = {name: torch.tensor([encode(word)[0] for word in words]) for name, words in _WORDS.items()}
    places = torch.tensor([encode(word)[0] for word in _PLACES])
    nothing = nn.ParameterDict({name: nn.Parameter(torch.randn(1, width) * 0.5) for name in _WORDS})
    trained = [*projector.named_parameters(), ("words", embedding.weight), *nothing.items()]
    optimiser = Optimiser(trained, lr=lr, steps=steps)
    weights = {name: torch.tensor([EMPTY_WEIGHT] + [1.0] * len(words)) for name, words in _WORDS.items()}
    patches, shares = _place_targets()
    rng = np.random.default_rng((seed, 43))
    for step in range(steps):
        rows = rng.integers(len(pictures), size=batch)
        projected = projector(features[rows]) / width**0.5
        losses = []
        for name, words in ids.items():
            logits = projected @ torch.cat([nothing[name], embedding.weight[words]]).T
            losses.append(
                nn.functional.cross_entropy(
                    logits.flatten(0, 1), _patch_labels(labels, name, rows).flatten(), weight=weights[name]
                )
            )
        where = (projected[:, patches] @ embedding.weight[places].T).log_softmax(dim=-1)
        losses.append(-(where * shares).sum(dim=-1).mean())
        loss = torch.stack(losses).sum()
        optimiser.update(loss, step)
        if step % 25 == 24 or step == steps - 1:
            progress(step + 1, steps, f"loss {float(loss.detach()):.3f}")


def _patch_labels(labels: Labels, name: str, rows: Any) -> Tensor:
    """``[batch, 16]``; a whole-picture label stands at every patch."""
    found = torch.from_numpy(getattr(labels, name)[rows])
    return found if found.ndim == 2 else found[:, None].expand(-1, 16)

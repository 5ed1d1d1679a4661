"""Loss and accuracy of the language side, with picture features computed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from holdfast.pocket.making.exercises import Pair
from holdfast.pocket.making.optimise import Optimiser, Progress
from holdfast.pocket.making.packing import Packed, pack, packed_mask
from holdfast.pocket.making.parts import parts_of, vision_features
from holdfast.pocket.tokens import IMAGE, IMAGE_TOKENS


def pixel_values(images: npt.NDArray[np.uint8]) -> Tensor:
    """Pictures ``[n, 32, 32, 3]`` as the image processor gives them: ``[n, 3, 32, 32]`` in -1..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1.0).contiguous()


@torch.no_grad()
def tower_features(model: Any, images: npt.NDArray[np.uint8], batch: int = 256) -> Tensor:
    """What the model's connector is given, ``[n, 16, 96]``."""
    starts = range(0, len(images), batch)
    return torch.cat([vision_features(model, pixel_values(images[start : start + batch])) for start in starts])


def hidden_states(model: Any, features: Tensor, packed: Packed) -> Tensor:
    """The decoder's last hidden states ``[batch, length, width]`` for cached features ``[batch, 16, 96]``."""
    parts = parts_of(model)
    embedded = parts.decoder.embed_tokens(packed.ids)
    projected = parts.connector(features)
    begin = parts.prefix.index(IMAGE)
    embedded = torch.cat([embedded[:, :begin], projected, embedded[:, begin + IMAGE_TOKENS :]], dim=1)
    output = parts.decoder(
        inputs_embeds=embedded,
        attention_mask=packed_mask(packed.segment),
        position_ids=packed.position,
        use_cache=False,
    )
    hidden: Tensor = output.last_hidden_state
    return hidden


def packed_loss(model: Any, features: Tensor, packed: Packed) -> Tensor:
    """Weighted mean cross-entropy of the answer tokens; the head is applied only there."""
    hidden = hidden_states(model, features, packed)
    weight = packed.weight[:, 1:]
    chosen = weight > 0
    logits = model.lm_head(hidden[:, :-1][chosen])
    losses = nn.functional.cross_entropy(logits, packed.ids[:, 1:][chosen], reduction="none")
    weights = weight[chosen]
    return (losses * weights).sum() / weights.sum()


@torch.no_grad()
def exact_matches(model: Any, features: Tensor, pairs: Sequence[Pair], batch: int = 128) -> npt.NDArray[np.bool_]:
    """Whether greedy decoding would give exactly each answer, by teacher forcing; one pair for each picture.

    Every answer token, end included, is the likeliest one given the right prefix exactly if greedy decoding emits the
    answer.
    """
    right = np.zeros(len(pairs), dtype=bool)
    order = sorted(range(len(pairs)), key=lambda index: len(pairs[index][0]))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        packed = pack([[pairs[index]] for index in rows], parts_of(model).prefix)
        logits = model.lm_head(hidden_states(model, features[rows], packed)[:, :-1])
        good = (logits.argmax(-1) == packed.ids[:, 1:]) | (packed.weight[:, 1:] == 0)
        right[rows] = good.all(dim=1).numpy()
    return right


def train_language(
    model: Any,
    features: Tensor,
    rows: Sequence[Sequence[Pair]],
    *,
    steps: int,
    lr: float,
    batch: int,
    seed: int,
    progress: Progress,
    order: npt.NDArray[np.int64] | None = None,
) -> None:
    """Stage 3: train projector, decoder and head (in place) on packed rows; the tower stays as it is.

    Args:
        model: A pocket model.
        features: Cached tower features ``[n, 16, 96]``.
        rows: For each picture its questions and answers.
        steps: Optimizer steps.
        lr: Peak learning rate.
        batch: Pictures in a step.
        seed: Of the order of pictures.
        progress: Told every 25 steps.
        order: Pictures in the order to be seen (a curriculum); default: random passes.
    """
    parts = parts_of(model)
    prefix, tower = parts.prefix, {id(parameter) for parameter in parts.vision.parameters()}
    trained = [(name, parameter) for name, parameter in model.named_parameters() if id(parameter) not in tower]
    optimiser = Optimiser(trained, lr=lr, steps=steps)
    rng = np.random.default_rng((seed, 47))
    waiting = np.empty(0, dtype=np.int64) if order is None else order
    running = 0.0
    for step in range(steps):
        if len(waiting) < batch:
            waiting = np.concatenate([waiting, rng.permutation(len(rows))])
        chosen, waiting = waiting[:batch], waiting[batch:]
        loss = packed_loss(model, features[chosen], pack([rows[index] for index in chosen], prefix))
        optimiser.update(loss, step)
        running += 0.05 * (float(loss.detach()) - running) if step else float(loss.detach())
        if step % 25 == 24 or step == steps - 1:
            progress(step + 1, steps, f"loss {running:.3f}")

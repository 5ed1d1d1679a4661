"""Stage 1, the eye: the tower learns to say at each patch what stands there. It takes the place of CLIP's training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.pocket.making.architecture import VISION_WIDTH
from holdfast.pocket.making.language import pixel_values
from holdfast.pocket.making.optimise import Optimiser, Progress
from holdfast.pocket.making.parts import parts_of, vision_features
from holdfast.pocket.making.pool import CLASSES, Labels, Picture, make_labels, stack_pixels

PATCH_HEADS = ("shape", "color", "character")
WHOLE_HEADS = ("pattern", "sketch")

EMPTY_WEIGHT = 0.05
"""Weight of the class "nothing" in the tower's losses."""


class Heads(nn.Module):
    """Linear classifiers: some on every patch, some on the mean over patches. Thrown away afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.ModuleDict({name: nn.Linear(VISION_WIDTH, classes) for name, classes in CLASSES.items()})

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Logits: ``[batch, 16, classes]`` of patch heads and ``[batch, classes]`` of whole-picture heads."""
        whole = features.mean(dim=1)
        result = {name: self.linear[name](features) for name in PATCH_HEADS}
        return result | {name: self.linear[name](whole) for name in WHOLE_HEADS}


def _targets(labels: Labels, rows: Any) -> dict[str, Tensor]:
    return {name: torch.from_numpy(getattr(labels, name)[rows]) for name in CLASSES}


def train_tower(
    model: Any, pictures: list[Picture], *, steps: int, lr: float, batch: int, seed: int, progress: Progress
) -> None:
    """Train the tower (in place) with throw-away heads on all labels at once."""
    torch.manual_seed(seed)
    heads, tower = Heads(), parts_of(model).vision
    images, labels = stack_pixels(pictures), make_labels(pictures)
    optimiser = Optimiser([*tower.named_parameters(), *heads.named_parameters()], lr=lr, steps=steps)
    rng = np.random.default_rng((seed, 41))
    order = np.empty(0, dtype=np.int64)
    # Most patches are empty; without weights the rare letters are learned last.
    weights = {name: torch.tensor([EMPTY_WEIGHT] + [1.0] * (count - 1)) for name, count in CLASSES.items()}
    running = 0.0
    for step in range(steps):
        if len(order) < batch:
            order = np.concatenate([order, rng.permutation(len(pictures))])
        rows, order = order[:batch], order[batch:]
        said = heads(vision_features(model, pixel_values(images[rows])))
        wanted = _targets(labels, rows)
        loss = torch.stack(
            [
                nn.functional.cross_entropy(said[name].flatten(0, -2), wanted[name].flatten(), weight=weights[name])
                for name in CLASSES
            ]
        ).sum()
        optimiser.update(loss, step)
        running += 0.05 * (float(loss.detach()) - running) if step else float(loss.detach())
        if step % 25 == 24 or step == steps - 1:
            progress(step + 1, steps, f"loss {running:.3f}")
    model.tower_report = tower_accuracy(model, heads, pictures[:1000])


@torch.no_grad()
def tower_accuracy(model: Any, heads: Heads, pictures: list[Picture]) -> dict[str, float]:
    """Percentage right of each head where there is something to see."""
    images, labels = stack_pixels(pictures), make_labels(pictures)
    said = heads(vision_features(model, pixel_values(images)))
    wanted = _targets(labels, slice(None))
    result = {}
    for name in CLASSES:
        there = wanted[name] > 0
        right = said[name].argmax(-1)[there] == wanted[name][there]
        result[name] = 100.0 * float(right.float().mean())
    return result

"""The features of one batch, ready to stand in for its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from holdfast.speed.decision import NotPossible
from holdfast.speed.features.extract import Stage, restored
from holdfast.speed.features.files import FeatureRecord
from holdfast.speed.features.merge import merged
from holdfast.speed.features.tap import FEATURES
from holdfast.values import Keywords


@dataclass(frozen=True)
class CachedImages:
    """Features of the image sets of a batch in the order of its rows; rows without images have none.

    Attributes:
        stage: After which part they were taken.
        records: One a row with images; rows with the same images share one object.
        device: Where the tensors are.
    """

    stage: Stage
    records: tuple[FeatureRecord, ...]
    device: torch.device

    def to(self, device: torch.device | str) -> CachedImages:
        """The same on another device; each image set is moved once."""
        place = torch.device(device)
        moved = {id(record): record.to(place) for record in self.records}
        return CachedImages(self.stage, tuple(moved[id(record)] for record in self.records), place)

    def inputs(self, model: nn.Module) -> Keywords:
        """What stands in for pixels in ``model(**without_pixels(batch), **inputs)``.

        At stage ``tower`` the connector runs here, live and with its graph: call it once a forward, in the precision
        and mode of that forward.

        Raises:
            NotPossible: Features of different images do not fit into one batch of this family.
        """
        bare = _bare(model)
        made = {id(record): restored(bare, self.stage, record, self.device) for record in self.records}
        return {FEATURES: {"image": merged([made[id(record)] for record in self.records])}}

    def fits(self) -> bool:
        """Whether stored features can be joined; told by their shapes, nothing is read."""
        if self.stage == "tower":
            return True  # joined after the connector, whose shapes are not known yet
        try:
            self.to("meta").inputs(nn.Identity())
        except NotPossible:
            return False
        return True


def _bare(model: nn.Module) -> nn.Module:
    """The model itself when a distributed engine has wrapped it."""
    while not hasattr(model, "get_image_features") and isinstance(getattr(model, "module", None), nn.Module):
        model = model.module  # type: ignore[assignment]
    return model

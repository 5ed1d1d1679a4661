"""Take the features of one image set out of a model, and give them back later. Knows batches, not examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.models.anatomy import Anatomy
from holdfast.speed.decision import NotPossible
from holdfast.speed.features.files import FeatureRecord
from holdfast.speed.features.tap import Call, Inputs, call, consumed, needs_llm, overhear, slim
from holdfast.speed.features.towers import listening, replaying, towers
from holdfast.speed.features.tree import Packer, unpack

Stage = Literal["connector", "tower"]
"""After which part features are taken."""


class Extractor:
    """Takes features of one model at one stage.

    Attributes:
        read: The fields of the features that the family's forward reads; learned from the first batch where not known.
    """

    def __init__(self, model: nn.Module, anatomy: Anatomy, stage: Stage, read: tuple[str, ...] | None = None) -> None:
        self.model, self.anatomy, self.stage, self.read = model, anatomy, stage, read

    def extract(self, inputs: Inputs) -> FeatureRecord:
        """The features of one row with its images.

        Args:
            inputs: What ``forward`` takes: one row, on the model's device.

        Raises:
            NotPossible: The family makes its features in a way that cannot be cut out.
        """
        with evaluating(self.model):
            made = overhear(self.model, inputs)
            if self.read is None:
                if self.stage == "connector" and needs_llm(self.model, made, self.anatomy.llm.parameters):
                    raise NotPossible("its image features depend on weights of the llm")
                self.read = consumed(self.model, inputs)
            packer = Packer()
            if self.stage == "connector":
                with torch.no_grad():
                    spec = packer.pack(slim(call(self.model, made), self.read))
            else:
                spec = packer.pack(self._after_tower(made, self.read))
        return FeatureRecord(spec, tuple(packer.tensors))

    def _after_tower(self, made: Call, read: tuple[str, ...]) -> dict[str, object]:
        """What the towers said that reached the features, and the call that the connector's live run will need."""
        with torch.enable_grad(), listening(towers(self.model, self.anatomy)) as heard:
            said = heard.used(slim(call(self.model, made), read))
        arguments = {name: _blank(value) for name, value in made.arguments.items()}
        return {"owner": made.owner, "arguments": arguments, "said": said, "read": list(read)}


def restored(model: nn.Module, stage: Stage, record: FeatureRecord, device: torch.device) -> Any:
    """The features of one image set as the family's output object; at stage ``tower`` with the connector's graph."""
    value = unpack(record.spec, record.tensors, device)
    if stage == "connector":
        return value
    with replaying(model, value["said"]):
        features = call(model, Call(value["owner"], value["arguments"]))
    return slim(features, tuple(value["read"]))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module gets its own mode back."""
    before: Mapping[nn.Module, bool] = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def _blank(value: Any) -> Any:
    """Pixels without their content: only shape and type are asked for when the towers do not look.

    Ones and not zeros, because some families leave out images that are zero throughout.
    """
    if isinstance(value, Tensor) and value.is_floating_point():
        return torch.ones((), dtype=value.dtype).expand(value.shape)
    return value

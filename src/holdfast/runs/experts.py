"""Other runs whose changes a fusion takes beside its own run's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact
from holdfast.methods.fusion.base import Fusion
from holdfast.methods.recipe import kind_of
from holdfast.methods.several import parts_of
from holdfast.models.loading import Loaded
from holdfast.runs.artifacts import check_base, load_artifacts
from holdfast.runs.opening import run_folder


def bring_experts(fusions: Sequence[Fusion], loaded: Loaded) -> None:
    """Give every fusion what the runs that it names have changed.

    Raises:
        HoldfastError: A folder holds no finished run, one of another base, or changes that are none of weights.
    """
    for fusion in fusions:
        fusion.others = [_changes(Path(place).expanduser(), fusion, loaded) for place in fusion.experts_from]


def _changes(place: Path, fusion: Fusion, loaded: Loaded) -> list[Artifact]:
    folder = run_folder(place).artifact
    artifacts, record = load_artifacts(folder)
    check_base(loaded, record, folder)
    own = [artifact for artifact in artifacts if artifact.component in fusion.components]
    parts = [part for artifact in own for part in parts_of(artifact)]
    stuck = next((part for part in parts if not kind_of(part).card.mergeable), None)
    if stuck is not None:
        raise HoldfastError(
            f"fusion '{fusion.card.name}' edits weights, and method '{stuck.method}' on '{stuck.component}' of this "
            "run changes none",
            file=place,
            remedy="name runs whose methods can be merged, or other components",
        )
    return own

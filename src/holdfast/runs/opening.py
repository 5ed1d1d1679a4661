"""A finished run from disk: its base, checked to be the one it was trained on, and what training changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.config.loading import load_config
from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact
from holdfast.methods.experts import choose
from holdfast.models.loading import Loaded, load_model, weights_in
from holdfast.runs.artifacts import check_base, load_artifacts
from holdfast.runs.folder import RunFolder


@dataclass(frozen=True)
class OpenedRun:
    """A run whose artifacts are not on its base yet."""

    folder: RunFolder
    config: RunConfig
    base: Loaded
    artifacts: Sequence[Artifact]


def run_folder(run: Path) -> RunFolder:
    """The folder of a run.

    Raises:
        HoldfastError: It is none.
    """
    folder = RunFolder(run)
    if not folder.config.exists():
        raise HoldfastError("this is not a Holdfast run", file=run, remedy="give the --out folder of holdfast tune")
    return folder


def config_of(folder: RunFolder) -> RunConfig:
    """The configuration that a run was begun with.

    Raises:
        HoldfastError: It cannot be read, or is not whole.
    """
    config = load_config(folder.config)
    if config.target is None:
        raise HoldfastError(
            "the run's configuration names no target, so it is not what the run was begun with",
            file=folder.config,
            remedy="put the file back as holdfast tune wrote it",
        )
    return config


def open_run(run: Path, *, device: str | None = None, expert: int | None = None) -> OpenedRun:
    """Load a run's base and artifacts.

    Args:
        run: Its folder.
        device: Default: a GPU if there is one.
        expert: Of a run whose fusion keeps several, which one, from 1; default: the one it was scored with.

    Raises:
        HoldfastError: Not a finished run, it is damaged, or its base is not the one it was trained on; there is no such
            expert.
    """
    folder = run_folder(run)
    artifacts, record = load_artifacts(folder.artifact)
    if expert is not None:
        artifacts = choose(artifacts, expert)
    config = config_of(folder)
    base = load_model(
        record["model"],
        dtype=weights_in(config.train),
        device=device,
        trust_remote_code=config.trust_remote_code,
        load=config.load,
    )
    check_base(base, record, folder.artifact)
    return OpenedRun(folder, config, base, artifacts)

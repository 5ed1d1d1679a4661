"""What each arm of ``gpu.py`` does in its own process: train, ask, pack, prepare, talk."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import matrix_rate, synchronise, workshop
from setting import Shape

METHODS: dict[str, tuple[dict[str, Any], str]] = {
    "lora": ({"r": 16, "alpha": 32, "dropout": 0.0}, "lora"),
    "random_mask": ({"ratio": 0.05, "modules": ["attention", "mlp"]}, "all"),
    "layers": ({"layers": "last:2"}, "last2"),
}
"""Options, and what the floor counts as trained."""

RATES = {"lora": 1e-4, "random_mask": 2e-5, "layers": 2e-5}
ASKED = 4
"""Pictures asked about, times those of the training part."""

SIDE = 2048
"""Pixels of the pictures that workers prepare; a toy's are smaller."""


def run_arm(task: dict[str, Any]) -> dict[str, Any]:
    """One arm in this process: once on other pictures, then timed."""
    import torch

    torch.set_num_threads(task["threads"])
    part, arm = task["arm"].split(":")
    shape = Shape(**task["shape"])
    with workshop("gpu") as folder:
        if part in METHODS:
            return train(task, part, arm, shape, folder)
        return PARTS[part](task, arm, shape, folder)


def train(task: dict[str, Any], method: str, arm: str, shape: Shape, folder: Path) -> dict[str, Any]:
    """A training method by one hand."""
    from arms import Job, run
    from floors import count, lengths
    from setting import build, make_examples

    options, trained = METHODS[method]
    k = task["questions"]
    loaded = build(shape)
    caches = [folder / "cache-warm", folder / "cache"]
    for cache in caches:
        cache.mkdir()
    warm = make_examples(shape, folder, images=task["images_per_batch"], questions=k, name="warm")
    made = make_examples(shape, folder, images=task["images"], questions=k)
    job = Job(tuple(warm), k * task["images_per_batch"], 1, method, options, RATES[method], "bf16")
    first = run(arm, loaded, job, cache=str(caches[0]), log=True)
    rate = matrix_rate(task["matrix"], device=shape.device, dtype=shape.dtype)
    forget_peak(shape.device)
    timed = run(arm, loaded, replace(job, examples=tuple(made), epochs=task["epochs"]), cache=str(caches[1]))
    held = peak(shape.device)
    operations, tokens = 0.0, 0
    for begin in range(0, len(made), k):
        prefix, branches, supervised = lengths(loaded, made[begin : begin + k], shape)
        operations += count(shape, branches, supervised, prefix=prefix, trained=trained)["total"]
        tokens += sum(prefix + length for length in branches)
    operations, tokens = operations * task["epochs"], tokens * task["epochs"]
    return {
        "loss": first.losses[0],
        "tokens_per_second": tokens / timed.seconds,
        "share": operations / timed.seconds / rate,
        "rate": rate,
        "peak": held,
        **timed.facts(task["epochs"]),
    }


def memory(task: dict[str, Any], arm: str, shape: Shape, folder: Path) -> dict[str, Any]:
    """LoRA with gradient checkpointing on a base of so many bits, which goes by way of a checkpoint on disk."""
    import torch
    from arms import Job, ours
    from setting import build, make_examples

    from holdfast.config.schema import Load
    from holdfast.models.loading import load_model

    loaded, load = build(shape), {}
    if arm == "bits4":
        load = {"bits": 4}
        loaded.model.save_pretrained(folder / "model")
        loaded.chat.processor.save_pretrained(folder / "model")
        del loaded
        forget_peak(shape.device)
        loaded = load_model(
            str(folder / "model"), dtype=getattr(torch, shape.dtype), device=shape.device, load=Load(**load)
        )
    made = make_examples(shape, folder, images=4, questions=task["questions"])
    options, _ = METHODS["lora"]
    job = Job(tuple(made), task["questions"], 1, "lora", options, RATES["lora"], "bf16", load=load, checkpointing=True)
    forget_peak(shape.device)
    timed = ours(loaded, job, {"feature_cache": "off"})
    return {"peak": peak(shape.device), "step": timed.seconds / len(timed.marks), "loss": timed.losses[0]}


def ask(task: dict[str, Any], arm: str, shape: Shape, folder: Path) -> dict[str, Any]:
    """Yes-or-no questions, as in ``evaluation.py``."""
    from evaluation import CHOICES, answer
    from setting import build, make_examples

    loaded = build(shape)
    settings = {"arm": {"alone": "ours_alone"}.get(arm, arm), "max_new_tokens": 8, "big": 32} | {
        "questions": task["questions"]
    }
    sizes = {"warm": task["images_per_batch"], "test": ASKED * task["images"]}
    made = {
        name: make_examples(
            shape, folder, images=size, questions=task["questions"], question=(6, 10), choices=CHOICES, name=name
        )
        for name, size in sizes.items()
    }
    answer(loaded, settings, made["warm"], folder / "warm.jsonl")
    forget_peak(shape.device)
    seconds, answers = clocked(shape.device, lambda: answer(loaded, settings, made["test"], folder / "test.jsonl"))
    per_second = len(answers) / seconds
    return {"seconds": seconds, "per_second": per_second, "peak": peak(shape.device), "answers": answers}


def packing(task: dict[str, Any], arm: str, shape: Shape, folder: Path) -> dict[str, Any]:
    """A long tail of questions, one a picture; ``on`` says in ``packing`` which kernels it went through."""
    from arms import Job, ours
    from filling import long_tailed, padded_share
    from setting import build

    loaded = build(shape)
    mix = {"batch": 8, "median": 60, "spread": 1.2}
    made = long_tailed(shape, folder, {**mix, "steps": 2 + max(2, task["images"] // 4)})
    speed = {"packing": "off" if arm == "padded" else arm, "feature_cache": "off"}
    options, _ = METHODS["lora"]
    # Eight rows as long as the longest would not fit beside 7B with their activations.
    job = Job(tuple(made[:16]), mix["batch"], 1, "lora", options, RATES["lora"], "bf16", checkpointing=True)
    ours(loaded, job, speed)
    forget_peak(shape.device)
    timed = ours(loaded, replace(job, examples=tuple(made[16:])), speed)
    held = {"peak": peak(shape.device), "padding": padded_share(loaded, made[16:], mix["batch"])}
    return {"step": timed.seconds / len(timed.marks), "packing": timed.engaged["packing"], **held}


def workers(task: dict[str, Any], arm: str, shape: Shape, folder: Path) -> dict[str, Any]:
    """Large pictures, one question each, prepared by other processes or by the one that trains."""
    from arms import Job, ours
    from PIL import Image
    from setting import build, make_examples

    loaded = build(shape)
    made = make_examples(shape, folder, images=8 * (2 + max(2, task["images"] // 4)), questions=1)
    side = SIDE if shape.width > 1024 else 2 * shape.image
    for example in made:
        Image.open(example.images[0]).resize((side, side)).save(example.images[0], compress_level=1)
    speed = {"workers": arm if arm == "auto" else int(arm), "feature_cache": "off", "packing": "off"}
    options, _ = METHODS["lora"]
    job = Job(tuple(made[:16]), 8, 1, "lora", options, RATES["lora"], "bf16")
    ours(loaded, job, speed)
    timed = ours(loaded, replace(job, examples=tuple(made[16:])), speed)
    gaps = timed.facts(1)["gaps"]
    return {"step": timed.seconds / len(gaps), "last_step": gaps[-1], "workers": timed.engaged["workers"]}


def chat(task: dict[str, Any], arm: str, shape: Shape, folder: Path) -> dict[str, Any]:
    """A question about a picture, streamed, and another one behind it."""
    from setting import build, make_examples

    from holdfast.inference.conversation import Conversation

    loaded = build(shape)
    example = make_examples(shape, folder, images=1, questions=1)[0]
    loaded.model.generation_config.eos_token_id = None  # random weights: every answer goes to its limit
    limit = 64 if shape.width > 1024 else 8
    talk = Conversation(loaded, limit=limit)
    talk.ask(example.question, example.images)
    talk.begin_again()
    heard: list[float] = []
    begun = time.perf_counter()
    seconds, _ = clocked(
        shape.device,
        lambda: talk.ask(example.question, example.images, hear=lambda text: heard.append(time.perf_counter() - begun)),
    )
    again, _ = clocked(shape.device, lambda: talk.ask(example.question))
    return {"first_piece": heard[0] if heard else seconds, "tokens_per_second": limit / seconds, "second_turn": again}


PARTS: dict[str, Callable[[dict[str, Any], str, Shape, Path], dict[str, Any]]] = {
    "memory": memory,
    "ask": ask,
    "packing": packing,
    "workers": workers,
    "chat": chat,
}


def clocked(device: str, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds until the device has done it, and what came of it."""
    synchronise(device)
    begun = time.perf_counter()
    found = work()
    synchronise(device)
    return time.perf_counter() - begun, found


def forget_peak(device: str) -> None:
    """Let :func:`peak` count from now."""
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> float | None:
    """GiB that tensors held at once; None without a GPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated() / 2**30

"""Peak training memory and step time of the sparse engine against LoRA and full tuning, measured side by side.

    python benchmarks/selective_memory.py            # about three minutes on one core
    python benchmarks/selective_memory.py --rounds 5 --json

Every arm is one process of its own: the same random LLaVA, the same batch, AdamW, float32. Memory is the highest
resident size while training less the resident size with the model loaded. LoRA and the sparse methods train the same
number of values (LoRA's rank is chosen first, the sparse ratio follows; no dropout, which would only cost LoRA more);
full tuning is plain AdamW on the same matrices, without the copy of the base that Holdfast's own ``full`` keeps to
restore it. ``gradient_mask`` counts the passes that choose the entries, too. Times are medians over rounds of ratios
within a round, each arm being measured once a round: by the clock, and by the processor time that the process used,
which other processes on the same cores disturb less.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from common import MIB, forget_highest, highest, resident

ARMS = ("full", "lora", "random_mask", "gradient_mask")
TARGETS = {"memory_over_lora": 1.25, "memory_over_full": 0.4, "time_over_full": 1.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--rows", type=int, default=2, help="examples in the batch")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each example")
    parser.add_argument("--density", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=4, help="timed steps of a process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the base weights")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=("memory", "time"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(run_arm(options)))
        return
    memory = {arm: _spawn(options, arm, "memory") for arm in ARMS}
    rounds = [{arm: _spawn(options, arm, "time") for arm in ARMS} for _ in range(options.rounds)]
    report = summarise(options, memory, rounds)
    print(json.dumps(report, indent=1) if options.json else as_text(report))


def _spawn(options: argparse.Namespace, arm: str, measure: str) -> dict[str, Any]:
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(options.threads)}
    if measure == "memory":
        # What is freed goes back to the system at once, so that resident memory is memory in use. Slower: not timed.
        environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--arm", arm, "--measure", measure]
    for name in ("layers", "width", "rows", "tokens", "density", "steps", "threads", "dtype"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_arm(options: argparse.Namespace) -> dict[str, Any]:
    """One arm in this process: ``{"values", "peak"}`` in bytes, or ``{"values", "clock", "processor"}`` in seconds
    of the median step.
    """
    import torch

    torch.set_num_threads(options.threads)
    model, batch = build(options)
    warm_up(model, batch)
    gc.collect()
    before = resident()
    forget_highest()
    parameters, step = prepare(options, model, batch)
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    clock, processor = [], []
    # Two steps see everything: the moments are made in the first, and live through the second's backward pass.
    for _ in range(2 if options.measure == "memory" else 2 + options.steps):
        begun, used = time.perf_counter(), time.process_time()
        step(optimizer)
        clock.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
    values = sum(parameter.numel() for parameter in parameters)
    if options.measure == "memory":
        return {"values": values, "peak": highest() - before}
    return {"values": values, "clock": statistics.median(clock[2:]), "processor": statistics.median(processor[2:])}


def prepare(options: argparse.Namespace, model: Any, batch: dict[str, Any]) -> tuple[list[Any], Any]:
    """What trains, and a function that makes one step with an optimizer of it."""
    import torch

    from holdfast.methods.contract import Context
    from holdfast.methods.registry import make_method
    from holdfast.models.anatomy import resolve_anatomy
    from holdfast.training.loss import answer_loss

    model.requires_grad_(False)
    llm = resolve_anatomy(model).llm
    layers = list(llm.linears().values())
    total = sum(layer.weight.numel() for layer in layers)
    sides = sum(layer.in_features + layer.out_features for layer in layers)
    rank = max(1, int(options.density * total / sides))
    half = options.dtype == "bfloat16"

    def loss(one: dict[str, Any]) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            result = answer_loss(model, one)
        return result.total / result.tokens

    after = lambda step: None  # noqa: E731
    if options.arm == "full":
        parameters = [layer.weight.requires_grad_(True) for layer in layers]
    else:
        settings: dict[str, Any] = {"modules": ["attention", "mlp"]}
        if options.arm == "lora":
            settings |= {"r": rank, "alpha": 2 * rank, "dropout": 0.0}
        else:
            settings["ratio"] = rank * sides / total
        method = make_method(options.arm, settings)
        method.attach(llm, Context(torch.Generator().manual_seed(0), lambda count, **_: iter([batch] * 2), loss))
        parameters, after = list(method.named_trainable().values()), method.after_step

    def step(optimizer: Any) -> None:
        loss(batch).backward()
        optimizer.step()
        after(0)
        optimizer.zero_grad(set_to_none=True)

    return parameters, step


def build(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """A LLaVA with a small tower and vocabulary, and a batch that asks about one image a row."""
    import torch
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    torch.manual_seed(0)
    vision = SiglipVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=16,
        vision_use_head=False,
    )  # fmt: skip
    llm = LlamaConfig(
        vocab_size=1000, hidden_size=options.width, intermediate_size=options.width * 8 // 3,
        num_hidden_layers=options.layers, num_attention_heads=options.width // 64,
        num_key_value_heads=options.width // 64,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=llm, image_token_index=4, vision_feature_select_strategy="full",
        vision_feature_layer=-1, image_seq_length=4,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).to(getattr(torch, options.dtype)).eval()
    ids = torch.randint(10, 1000, (options.rows, options.tokens))
    ids[:, 1:5] = 4
    labels = torch.full_like(ids, -100)
    labels[:, -4:] = ids[:, -4:]
    pixels = torch.randn(options.rows, 3, 32, 32).to(model.dtype)
    return model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels, "labels": labels}


def warm_up(model: Any, batch: dict[str, Any]) -> None:
    """Load what libraries load at their first use, so that it counts for no arm."""
    import peft  # noqa: F401
    import torch

    from holdfast.methods.registry import METHODS
    from holdfast.training.loss import answer_loss

    METHODS.all()
    with torch.no_grad():
        answer_loss(model, batch)
    small = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(small.parameters())
    small(torch.randn(4, 8)).sum().backward()
    optimizer.step()


def summarise(
    options: argparse.Namespace, memory: dict[str, dict[str, Any]], rounds: list[dict[str, dict[str, float]]]
) -> dict[str, Any]:
    """Ratios against LoRA and full tuning, with the targets they are held to."""
    arms = {}
    for arm in ARMS:
        peak = memory[arm]["peak"]
        arms[arm] = {
            "values": memory[arm]["values"],
            "peak_mib": round(peak / MIB, 1),
            "memory_over_lora": round(peak / memory["lora"]["peak"], 3),
            "memory_over_full": round(peak / memory["full"]["peak"], 3),
            "step_seconds": round(statistics.median(one[arm]["clock"] for one in rounds), 3),
            "time_over_full": _ratio(rounds, arm, "clock"),
            "processor_over_full": _ratio(rounds, arm, "processor"),
        }
    settings = {name: getattr(options, name) for name in ("layers", "width", "rows", "tokens", "density", "dtype",
                                                          "threads", "rounds")}  # fmt: skip
    return {"settings": settings, "targets": TARGETS, "arms": arms}


def _ratio(rounds: list[dict[str, dict[str, float]]], arm: str, kind: str) -> float:
    return round(statistics.median(one[arm][kind] / one["full"][kind] for one in rounds), 3)


def as_text(report: dict[str, Any]) -> str:
    """A table for reading."""
    lines = [", ".join(f"{name} {value}" for name, value in report["settings"].items())]
    lines.append(f"{'':14}{'values':>12}{'peak MiB':>10}{'/ LoRA':>8}{'/ full':>8}{'s/step':>8}{'/ full':>8}{'cpu':>8}")
    for arm, row in report["arms"].items():
        lines.append(
            f"{arm:14}{row['values']:>12,}{row['peak_mib']:>10.1f}{row['memory_over_lora']:>8.3f}"
            f"{row['memory_over_full']:>8.3f}{row['step_seconds']:>8.3f}{row['time_over_full']:>8.3f}{row['processor_over_full']:>8.3f}"
        )
    wanted = report["targets"]
    lines.append(
        f"targets for the masks: memory at most {wanted['memory_over_lora']} x LoRA and {wanted['memory_over_full']} x "
        f"full, time at most {wanted['time_over_full']} x full"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

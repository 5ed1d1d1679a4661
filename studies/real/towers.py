"""A DINOv2 tower out of an ONNX file in which somebody shipped it under another head."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PREFIX = "backbone."
"""In front of the tower's names; the saliency decoder above it has another and stays behind."""

NAMES = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
"""What transformers calls the projections today, by what it called them when the file was exported."""


def dinov2_from_onnx(file: Path, out: Path) -> None:
    """Write the tower inside ``file`` as a folder of transformers, with its picture processor.

    An exported linear layer is ``x @ weight`` followed by ``+ bias``: its matrix is stored transposed and without a
    name, and is known by the bias that is added next. The two tensors of positions, of the class token
    ``[1, 1, width]`` and of the patches ``[1, n * n, width]``, have no name either, and no other
    tensor has their shape.

    Args:
        file: The ONNX file; only its tensors are read, nothing of it is run.
        out: A folder that does not exist.

    Raises:
        ValueError: The tensors are not those of a DINOv2 tower.
    """
    import numpy as np
    import onnx
    import torch
    from onnx import numpy_helper
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    graph = onnx.load(str(file)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)

    found = {name: value for name, value in stored.items() if name.startswith(PREFIX)}
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in stored:
            continue
        for name in users[node.output[0]][0].input:
            if name.startswith(PREFIX) and name.endswith(".bias"):
                found[name.removesuffix("bias") + "weight"] = stored[node.input[1]].T
    tower = {_today(name.removeprefix(PREFIX)): torch.from_numpy(np.array(value)) for name, value in found.items()}

    width = tower["embeddings.cls_token"].shape[-1]
    unnamed = [torch.from_numpy(np.array(v)) for k, v in stored.items() if k.startswith("onnx::") and v.ndim == 3]
    first = [value for value in unnamed if value.shape == (1, 1, width)]
    patches = [value for value in unnamed if value.shape[1] > 1 and value.shape[2] == width]
    if len(first) != 1 or len(patches) != 1:
        raise ValueError(f"{file} has {len(first)} and {len(patches)} tensors that could be the tower's positions")
    tower["embeddings.position_embeddings"] = torch.cat([first[0], patches[0]], dim=1)
    tower["embeddings.mask_token"] = torch.zeros(1, width)  # of pretraining only, and not exported

    patch = tower["embeddings.patch_embeddings.projection.weight"].shape[-1]
    layers = 1 + max(int(name.split(".")[2]) for name in tower if name.startswith("encoder.layer."))
    model = Dinov2Model(
        Dinov2Config(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            mlp_ratio=tower["encoder.layer.0.mlp.fc1.bias"].numel() // width,
            patch_size=patch,
            image_size=patch * round(patches[0].shape[1] ** 0.5),
        )
    )
    model.load_state_dict(tower)
    partial = out.with_name(f"{out.name}.part")
    model.save_pretrained(partial)
    BitImageProcessorPil(
        size={"shortest_edge": 256},
        crop_size={"height": 224, "width": 224},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(partial)
    partial.rename(out)


def _today(name: str) -> str:
    for old, new in NAMES.items():
        name = re.sub(rf"\.{re.escape(old)}\.", f".{new}.", name)
    return name

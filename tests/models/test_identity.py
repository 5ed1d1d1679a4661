"""The identity of a model is that of its weights."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from holdfast.models.identity import SAMPLED, model_identity, tensor_digest

_SCRIPT = """
import torch
from torch import nn
from holdfast.models.identity import model_identity
model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
with torch.no_grad():
    for index, parameter in enumerate(model.parameters()):
        parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) / (index + 1))
print(model_identity(model))
"""


def small() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) / (index + 1))
    return model


def test_one_weight_changes_it_wherever_it_stands() -> None:
    base = model_identity(small())
    assert len(base) == 16 and int(base, 16) >= 0
    seen = {base}
    for name, parameter in small().named_parameters():
        for place in range(parameter.numel()):
            changed = small()
            with torch.no_grad():
                flat = changed.get_parameter(name).view(-1)
                flat[place] = torch.nextafter(flat[place], torch.tensor(float("inf")))
            seen.add(model_identity(changed))
    assert len(seen) == 1 + sum(parameter.numel() for parameter in small().parameters())


def test_the_same_weights_are_the_same_model_in_another_process() -> None:
    printed = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == model_identity(small())


def test_dtype_shape_and_name_matter() -> None:
    values = torch.zeros(2, 6)
    digests = {
        tensor_digest(values),
        tensor_digest(values.reshape(3, 4)),
        tensor_digest(values.to(torch.bfloat16)),
        tensor_digest(values.to(torch.int32)),
        tensor_digest(torch.zeros(0)),
    }
    assert len(digests) == 5
    one, two = nn.Module(), nn.Module()
    one.register_parameter("a", nn.Parameter(values))
    two.register_parameter("b", nn.Parameter(values))
    assert model_identity(one) != model_identity(two)


def test_memory_layout_and_requires_grad_do_not() -> None:
    values = torch.arange(12.0).reshape(3, 4)
    assert tensor_digest(values) == tensor_digest(values.t().contiguous().t())
    model = small()
    base = model_identity(model)
    model.requires_grad_(False)
    assert model_identity(model) == base


def test_zero_dimensional_and_boolean_tensors_count() -> None:
    assert tensor_digest(torch.tensor(1.0)) != tensor_digest(torch.tensor(2.0))
    assert tensor_digest(torch.tensor([True, False])) != tensor_digest(torch.tensor([False, True]))


def test_every_value_of_a_large_tensor_counts_and_the_sample_of_older_runs_is_still_known() -> None:
    large = torch.zeros(SAMPLED + 1)
    for place in (0, 1, 160, 16 * 1000 + 7, SAMPLED):
        other = large.clone()
        other[place] = 1
        assert tensor_digest(other) != tensor_digest(large)
        # Every (SAMPLED + 1) >> 16 = 16th value was looked at.
        assert (tensor_digest(other, sampled=True) != tensor_digest(large, sampled=True)) == (place % 16 == 0)
    whole = torch.zeros(SAMPLED)
    whole[-1] = 1
    assert tensor_digest(whole) != tensor_digest(torch.zeros(SAMPLED))

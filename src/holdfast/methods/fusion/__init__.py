"""Fusions: edit ``tuned - base`` after training. Entering this room enters every fusion in the registry."""

from holdfast.methods.fusion import (  # noqa: F401
    dare,
    fisher,
    magnitude,
    model_tailor,
    task_arithmetic,
    ties,
    wise_ft,
)

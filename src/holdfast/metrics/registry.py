"""Metrics by name. A metric's module is imported when it is first asked for; only listing names imports them all."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.metrics.base import Metric
from holdfast.registry import Registry

__all__ = ["METRICS", "Metric", "get_metric", "metric_names"]


def _named(value: object) -> str | None:
    name = vars(value).get("name") if isinstance(value, type) else None
    return name if isinstance(name, str) else None


METRICS: Registry[Callable[[str | None], Metric]] = Registry(
    "metric", places=("metrics/*.py", "tasks/*/metric.py"), name_of=_named
)
"""Name -> what makes the metric of a variant (None: its first)."""


def metric_names() -> tuple[str, ...]:
    """Every metric's name, sorted."""
    return METRICS.names()


def get_metric(name: str, variant: str | None = None) -> Metric:
    """The metric of that name under that variant (its first variant by default).

    Raises:
        HoldfastError: On an unknown name or variant; the message names the nearest one.
    """
    return METRICS.find(name)(variant)

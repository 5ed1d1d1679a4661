"""The two places where values are not typed any further: JSON, and the arguments of functions that are not ours."""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]
"""A JSON object, as a file, a card or a recipe holds it, or as it is about to be written."""

Keywords = dict[str, Any]
"""Keyword arguments of a function of torch, transformers or PEFT, which decide what they are."""

"""Where values are typed no further: JSON, and the arguments of functions that are not ours."""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]
"""A JSON object, as a file, a card or a recipe holds it, or as it is about to be written."""

Keywords = dict[str, Any]
"""Keyword arguments of a function that decides itself what they are: of torch, transformers or PEFT as a rule."""

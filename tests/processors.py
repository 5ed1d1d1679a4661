"""Importable here for checks outside this project; the code is :mod:`tests.support.processors`."""

from tests.support.processors import KITS, save

__all__ = ["KITS", "save"]

"""Importable here for checks outside this project; the code is :mod:`tests.support.tiny`."""

from tests.support.tiny import BARE, ROLES, llava_config, save_llava, tokenizer

__all__ = ["BARE", "ROLES", "llava_config", "save_llava", "tokenizer"]

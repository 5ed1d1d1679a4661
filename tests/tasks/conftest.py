"""A prepared folder of any card, from its download in miniature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.tasks.cards import find_card
from holdfast.tasks.preparing.write import prepare
from tests.support.miniatures import MAKERS


@pytest.fixture
def download(tmp_path: Path) -> Callable[[str], Path]:
    """Lays out the download of a card."""

    def make(name: str) -> Path:
        root = tmp_path / "downloads" / name
        MAKERS[name](root)
        return root

    return make


@pytest.fixture
def prepared(tmp_path: Path, download: Callable[[str], Path]) -> Callable[..., Path]:
    """Lays out the download of a card and prepares it."""

    def make(name: str, **options: object) -> Path:
        return prepare(find_card(name), download(name), tmp_path / "prepared" / name, **options).folder  # type: ignore[arg-type]

    return make

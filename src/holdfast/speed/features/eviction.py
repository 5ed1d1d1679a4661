"""Keep the cache below its cap: make room by what was not used for longest, never by what this run needs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from holdfast.speed.features.folder import remove, stored

_RECOUNT = 30.0
"""Seconds for which a count of the folder is believed."""
LEFT_FREE = 500_000_000
"""Bytes that the cache leaves on its disk for the checkpoints and answers of the runs beside it."""


class Eviction:
    """Bytes that may still be written.

    The folder is counted when the first file is to be written, and again whenever the cap is met or half a minute has
    passed: other processes write into it, too. What the disk has left counts like the cap.

    Attributes:
        short_of_disk: Whether the last count found less room on the disk than below the cap.
    """

    def __init__(self, folder: Path, cap: int, needed: Callable[[Path], bool]) -> None:
        """
        Args:
            folder: Of the whole cache.
            cap: Bytes that it may take.
            needed: Whether this run needs a file; such a file stays.
        """
        self._folder, self._cap, self._needed = folder, cap, needed
        self._bound = cap
        self._taken, self._counted = 0, float("-inf")
        self.short_of_disk = False

    def make(self, size: int) -> bool:
        """Make room for a file of ``size`` bytes; False when that would take what this run needs."""
        if self._taken + size > self._bound or time.monotonic() - self._counted >= _RECOUNT:
            self._counted = time.monotonic()
            files = stored(self._folder)
            self._taken = sum(file.size for file in files)
            on_disk = self._taken + self._free()
            self._bound, self.short_of_disk = min(self._cap, on_disk), on_disk < self._cap
            spare = [file for file in files if not self._needed(file.path)]
            if self._taken - sum(file.size for file in spare) + size > self._bound:
                return False
            for file in spare:
                if self._taken + size <= self._bound:
                    break
                if remove(file.path):
                    self._taken -= file.size
            if self._taken + size > self._bound:
                return False
        self._taken += size
        return True

    def _free(self) -> int:
        """Bytes of the disk that the cache may still take; all where the system does not say."""
        with suppress(OSError):
            return max(0, shutil.disk_usage(self._folder).free - LEFT_FREE)
        return self._cap

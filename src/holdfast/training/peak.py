"""The most memory that one training took, measured: beside what ``holdfast plan`` counts for a step."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_OURS: list[bool] = []


def process_is_ours() -> None:
    """Let the process's high-water mark be set back before every training. Call it in a process of one's own only.

    Whoever started ``holdfast tune`` may read that mark afterwards (``/usr/bin/time -v`` does), and would miss what
    loading took; nobody reads that of a study's worker, which does many trainings.
    """
    _OURS.append(True)


class PeakMemory:
    """Measures a block of a run: ``with peak: train()``, then ``peak.bytes``.

    Made before a recipe is attached, so that what a method keeps beside the model counts; what it needs for a moment
    while it chooses does not, as in what is counted. Only this process counts, and of a run that went on after an
    interruption only the part after it.

    Attributes:
        bytes: With the model's own weights. On a GPU what tensors held at once (``torch.cuda.max_memory_allocated``,
            set back before). On a CPU the weights and what the process grew by: its resident size at the high-water
            mark of the block (VmHWM of Linux) less that at the beginning, when the weights were in memory already, and
            less the pages of libraries' files that were read since. None where the mark is not the block's: it could
            not be set back and something before it went higher, as loading a model may; where it is below
            :data:`SURE` in the first training of a process; or the system does not tell.
    """

    def __init__(self, model: nn.Module) -> None:
        self.bytes: int | None = None
        self._device = next(model.parameters()).device
        tensors = [*model.parameters(), *model.buffers()]
        self._weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if self._device.type == "cpu":
            _give_back()
        self._begun, self._files = _status("VmRSS"), _status("RssFile")

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        elif _OURS:
            _begin_anew()
        self._size, self._mark = _status("VmRSS"), _status("VmHWM")
        return self

    def __exit__(self, *_: object) -> None:
        most = _status("VmHWM")
        if self._device.type == "cuda":
            import torch

            self.bytes = int(torch.cuda.max_memory_allocated(self._device))
        elif self._begun is not None and self._size is not None and self._mark is not None and most is not None:
            risen = most > self._mark or self._mark - self._size <= _NOISE
            libraries = max(0, (_status("RssFile") or 0) - (self._files or 0))
            size = self._weights + max(0, most - self._begun - libraries)
            self.bytes = size if risen and (_TRAININGS or size >= SURE) else None
        _TRAININGS.append(self._device.type)


SURE = 1 << 30
"""Bytes from which it does not matter that a first training sets libraries up: 60 MB of PEFT, accelerate and others."""

_TRAININGS: list[str] = []
"""Those of this process."""

_NOISE = 1 << 20
"""Bytes between size and mark that are no trace of something earlier: the kernel counts pages in batches a thread."""


def _give_back() -> None:
    """Return to the system what earlier work has freed: training would take that again, and nothing would grow."""
    if _OURS:
        gc.collect()  # of earlier trainings; elsewhere nothing has been left yet, and a caller's garbage is his own
    with suppress(OSError, AttributeError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)


def _begin_anew() -> None:
    with suppress(OSError):  # Linux's; proc(5): 5 sets the high-water mark to the present size
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(field: str) -> int | None:
    """A size from Linux's ``/proc/self/status`` in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None

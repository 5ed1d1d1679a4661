"""The same bits from the same computation: what a processor must be asked for, and whether it was.

On Intel processors MKL sums a matrix product in another order when its operands start at another address, so that one
step of training may end in other bits from one run to the next. MKL has a setting against that, conditional numerical
reproducibility in its strict form, which it reads once, before its first product. ``import holdfast`` asks for it; what
a person has set is left alone. ``docs/reliability.md`` says what is promised on which machine, and what it costs.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

SETTING = "MKL_CBWR"
WANTED = "AUTO,STRICT"

_ALL = -1
_STRICT, _COMPATIBLE, _OFF = 0x10000, 3, 1
"""What MKL answers (mkl_types.h): a bit, and two of the branches below it. COMPATIBLE needs no STRICT."""


class Bits(NamedTuple):
    """Whether the same computation gives the same bits here, and why or why not, as a sentence."""

    same: bool
    why: str


def ask_for_same_bits() -> None:
    """Set what MKL reads before its first product; a value that is there stays.

    Where torch was imported and used before, MKL has read its setting and this comes too late; :func:`bits` tells.
    """
    os.environ.setdefault(SETTING, WANTED)


def bits(device: str = "cpu") -> Bits:
    """Whether training twice on ``device`` in this process ends in the same bits. Imports torch.

    Args:
        device: Its type: ``cpu``, ``cuda``...
    """
    if device != "cpu":
        return Bits(False, f"on {device} sums are added in an order that differs from run to run")
    import platform

    kind = platform.machine().lower()
    if kind not in ("x86_64", "amd64"):
        return Bits(False, f"the bit-for-bit tests have not been run on {kind}, only on x86-64")
    import torch

    if not torch.backends.mkl.is_available():
        return Bits(False, "this torch has no MKL, and the bit-for-bit tests have not been run with another library")
    threads = torch.get_num_threads()
    mode = _mode()
    if mode & _STRICT or mode == _COMPATIBLE:
        return Bits(True, f"on this machine with {threads} thread{'s' if threads > 1 else ''} (MKL: {_named(mode)})")
    wanted = f"set {SETTING}={WANTED}"
    if os.environ.get(SETTING) == WANTED:
        why = "torch was used before holdfast was imported, and MKL had read its settings by then"
        return Bits(False, f"{why}; import holdfast first, or {wanted}")
    why = f"{SETTING}={os.environ.get(SETTING, '')} lets MKL's results depend on where memory begins"
    return Bits(False, f"{why}; unset it, or {wanted}")


def processor() -> str:
    """The processor's name, and the instructions that torch uses of it. Imports torch."""
    import platform
    from pathlib import Path

    import torch

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def _mode() -> int:
    """The mode that MKL works in. It is asked itself: a variable set too late says nothing."""
    import ctypes
    from pathlib import Path

    import torch

    suffix = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}.get(sys.platform, "libtorch_cpu.so")
    try:
        ask = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / suffix)).mkl_serv_cbwr_get
    except (OSError, AttributeError):  # a build that keeps MKL elsewhere: the setting has to do
        value = os.environ.get(SETTING, "").upper()
        return _STRICT if "STRICT" in value else _COMPATIBLE if value == "COMPATIBLE" else _OFF
    ask.argtypes, ask.restype = [ctypes.c_int], ctypes.c_int
    return int(ask(_ALL))


def _named(mode: int) -> str:
    return "strict" if mode & _STRICT else "compatible"

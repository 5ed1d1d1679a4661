"""Start a command in several processes on this machine and wait for them, by torch's launcher as accelerate does."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Sequence

from holdfast import stopping
from holdfast.errors import HoldfastError
from holdfast.ranks import STARTED

SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
"""What is passed on to the processes, which then have half a minute to finish their step and write a checkpoint."""


def start(count: int, words: Sequence[str]) -> int:
    """Run ``holdfast WORDS`` in ``count`` processes; when one fails, the launcher ends the others.

    Args:
        count: Of processes; on a machine with GPUs one a GPU.
        words: The command and its arguments.

    Returns:
        An exit code: that of the process that failed first.

    Raises:
        HoldfastError: A process was ended by a signal that nobody here sent, as the system does where memory runs out.
    """
    import logging

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.ERROR)  # the processes speak for themselves
    os.environ[STARTED] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    settings = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.5,
        signals_to_handle=SIGNALS,
    )
    try:
        elastic_launch(settings, sys.executable)("-m", "holdfast", *words)
    except SignalException as stopped:
        return stopping.INTERRUPTED if stopped.sigval == signal.SIGINT else stopping.TERMINATED
    except ChildFailedError as failed:
        rank, first = failed.get_first_failure()
        if first.exitcode < 0:
            ended = signal.Signals(-first.exitcode).name
            raise HoldfastError(
                f"process {rank} of {count} was ended by {ended}, and the others with it",
                remedy="where memory ran out, make it last; the same command goes on where the run stopped",
            ) from failed
        return int(first.exitcode)
    return 0

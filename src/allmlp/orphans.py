"""No process that allmlp starts outlives the one that started it, not even where that is killed.

These are all of them:

- those that prepare images (`data/workers.py`), by whichever start method: each calls `end_with` as it begins;
- one for each batch size that find-batch tries (`training/finding/trial.py`): so does each of these;
- torch.compile's own, with train.compile or the engine "compile": torch has them watch their parent;
- Python's helpers of multiprocessing, the fork server and the tracker of resources: they end when the last process does that
  holds the other end of their pipe;
- a Ray cluster's actors (`prediction/spread.py`) belong to the cluster, which ends them.

`allmlp serve` has threads alone.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when the thread that started it is gone."""


def end_with(parent: int, gone: Callable[[], object]) -> None:
    """In a child: end as soon as its parent is gone. Linux kills it then, whatever it is at, stopped or in a long computation.

    Args:
        parent: Process id of the one that starts such children: 0 where another process, a fork server, stands between.
        gone: Returns when the parent is gone; a thread waits for it. It covers other systems, and the moments before Linux
            was asked.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent and os.getppid() != parent:  # gone before that
        os._exit(1)
    threading.Thread(target=_leave_after, args=[gone], daemon=True).start()


def _leave_after(gone: Callable[[], object]) -> None:
    gone()
    os._exit(1)

"""A limit on the CPU time of one comparison, so that no answer can hold up its worker.

Computer algebra has no limit of its own: a symbolic 8x8 determinant, ten nested sines or an equation that is solved
take ten seconds and more. The judge would kill the worker after its wall-clock limit, which costs a second for the next
answer and depends on the load of the machine. This clock counts CPU time of the process and raises inside it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

AGAIN = 0.1
"""Seconds after which the signal comes again, in case a library swallowed the exception."""


class OutOfTime(BaseException):
    """Not an Exception, so that no `except Exception` of a library takes it for a failure of its own."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """`work()`, or OutOfTime once it has used `seconds` of CPU time. Calls may be inside each other.

    It takes SIGPROF, not the alarm clock that programs use themselves. Signals only reach the main thread, where the
    judge's workers run verifiers; in another thread there is no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    running = True

    def end(_number: int, _frame: FrameType | None) -> None:
        if running:
            raise OutOfTime

    outer, _ = signal.getitimer(signal.ITIMER_PROF)  # 0 where this is not inside another call
    begun = time.process_time()
    previous = signal.signal(signal.SIGPROF, end)
    try:
        try:
            signal.setitimer(signal.ITIMER_PROF, min(seconds, outer or seconds), AGAIN)
            return work()
        finally:
            running = False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous or signal.SIG_DFL)
        if outer:
            signal.setitimer(signal.ITIMER_PROF, max(outer - (time.process_time() - begun), 1e-3), AGAIN)

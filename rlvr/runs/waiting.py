"""A wait on another process is told: for whom, and how to end it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 30.0
"""Seconds before a wait is told."""


@contextmanager
def told(line: str, patience: float = PATIENCE) -> Iterator[None]:
    """Write `line` to stderr if the `with` block has not ended after `patience` seconds."""
    timer = threading.Timer(patience, lambda: sys.stderr.write(f"{line}\n"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

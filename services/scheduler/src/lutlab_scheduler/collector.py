"""Python's garbage collector, told that this process holds many objects for long and makes few cycles.

A full collection looks at every object: 70 ms with 50,000 jobs in memory, in the middle of somebody's decision, and by
default it comes every few dozen decisions. The states are immutable trees that reference counting frees by itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 20, 100)
"""Young objects per collection, and how many of them come before the next older generation's."""


def calm() -> None:
    """Collect rarely from now on, and never look again at what is in memory already."""
    gc.set_threshold(*THRESHOLDS)
    gc.unfreeze()  # what an earlier term left behind
    gc.collect()
    gc.freeze()


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing for the length of the block: a replay makes millions of objects and no cycle among them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

"""Memory that is lent again and again: to get new memory from the system costs as much as to fill it."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AT_ONCE", "scratch"]

AT_ONCE = 250_000
"""So many values lie in the cache when the next step takes them, and no thread is woken for them."""

_LENT = 1 << 21


class _Free(threading.local):
    def __init__(self) -> None:
        self.buffers: list[NDArray[np.uint8]] = []


_free = _Free()


@contextlib.contextmanager
def scratch(shape: tuple[int, ...], dtype: Any) -> Iterator[NDArray[Any]]:
    """Lend memory of any content; it is this thread's, and no one else's until it is given back.

    Args:
        shape: Its shape; up to 2 MiB are kept for the next one, more is new memory.
        dtype: Its type.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > _LENT:
        yield np.empty(shape, dtype)
        return
    lent = _free.buffers.pop() if _free.buffers else np.empty(_LENT, np.uint8)
    try:
        yield lent[:size].view(dtype).reshape(shape)
    finally:
        _free.buffers.append(lent)

"""Memory that is lent again and again: to get new memory from the system costs as much as to fill it."""

from __future__ import annotations

import math
import threading
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


class scratch:  # noqa: N801 - it is used like a function; a generator takes three times as long to begin
    """Lend memory of any content; it is this thread's, and no one else's until it is given back.

    Args:
        shape: Its shape; up to 2 MiB are kept for the next one, more is new memory.
        dtype: Its type.
    """

    __slots__ = ("_dtype", "_lent", "_shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._lent: NDArray[np.uint8] | None = None

    def __enter__(self) -> NDArray[Any]:
        size = math.prod(self._shape) * self._dtype.itemsize
        if size > _LENT:
            return np.empty(self._shape, self._dtype)
        self._lent = _free.buffers.pop() if _free.buffers else np.empty(_LENT, np.uint8)
        return np.ndarray(self._shape, self._dtype, self._lent)

    def __exit__(self, *_: object) -> None:
        if self._lent is not None:
            _free.buffers.append(self._lent)

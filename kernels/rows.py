"""The layout every loop sees, and how rows are shared out over threads.

A loop gets each array as a flat buffer with the strides of its leading axes, so that one machine code serves 1-D, 2-D
and
3-D histograms, views without flow bins, and read-only arrays. It works on rows ``first`` to ``last``; a row's result
does not depend on which rows are worked on with it, and so not on the number of threads.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["copy", "is_short", "lines", "over_rows", "rows", "set_threads", "target", "threads"]

Array = NDArray[Any]
# No class: to make one takes as long as to sum a short row.
Rows = tuple[Array, tuple[int, int, int], tuple[int, int, int, int]]

# Below this many bytes a second thread costs more than it saves.
_WORTH_A_THREAD = 1 << 20
# From so many values on it does not matter how long it takes to begin; from fewer where they lie apart, and are copied.
_FEW, _FEW_APART = 1 << 14, 1 << 11
# Axes that an array of so many has not.
_MISSING: dict[int, tuple[int, ...]] = {1: (1, 1, 1), 2: (1, 1), 3: (1,), 4: ()}
_KNOWN = frozenset(np.dtype(name) for name in ("f4", "f8", "i2", "i4", "i8", "u1", "u2", "u4", "u8"))
_FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


class _Inside(threading.local):
    """Whether this thread does a part of a larger work: what it calls is not shared out again."""

    a_part = False


_inside = _Inside()
_lock = threading.Lock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_asked: int | None = None


def rows(array: Array) -> Rows:
    """Describe ``array``, ``(n, [z,] [y,] x)``, as loops see it.

    It is copied only if its x axis is not contiguous or its type is unusual.

    Returns:
        A flat read-only buffer that holds every value; the distance in elements between rows, z and y planes; and
        ``(n, z, y, x)``, 1 for axes that the array has not.
    """
    if array.dtype not in _KNOWN:
        array = array.astype(
            np.float32 if array.dtype == np.float16 else np.uint8 if array.dtype == bool else np.float64
        )
    flags, shape = array.flags, array.shape
    if len(shape) > 4:
        raise ValueError(f"at most three axes of bins; got shape {shape}")
    n, z, y, x = shape[:1] + _MISSING[len(shape)] + shape[1:]
    if flags.c_contiguous and flags.aligned:
        flat = array.ravel()
        flat.setflags(write=False)
        return flat, (z * y * x, y * x, x), (n, z, y, x)
    four = array.reshape(n, z, y, x) if array.ndim < 4 else array
    size = four.itemsize
    step = four.strides
    if (
        (step[3] != size and x > 1)
        or any(s % size or s < 0 for s, d in zip(step[:3], (n, z, y), strict=True) if d > 1)
        or not four.flags.aligned
        or four.size == 0
    ):
        return rows(np.ascontiguousarray(four))
    far = [s // size if d > 1 else 0 for s, d in zip(step[:3], (n, z, y), strict=True)]
    extent = x + sum((d - 1) * s for d, s in zip((n, z, y), far, strict=True))
    flat = np.lib.stride_tricks.as_strided(four, (extent,), (size,), writeable=False)
    return flat, (far[0], far[1], far[2]), (n, z, y, x)


def lines(array: Array, *others: Array) -> Rows:
    """Describe ``array`` like `rows`, the bins of a row as one line where they lie side by side, for loops that need no more.

    With ``others``, whose bins go with those of ``array``, this holds only where theirs lie side by side, too.
    """
    if array.ndim > 2 and array.size:
        for a in (array, *others):
            if not (a.flags.c_contiguous or (len(a) and a[0].flags.c_contiguous)):
                return rows(array)
        return rows(array.reshape(len(array), -1))
    return rows(array)


def is_short(array: Array) -> bool:
    """Return whether ``array`` is one of few floats.

    To describe it, and to look for threads, takes longer than the work: such arrays go to loops that take them as one line,
    ``array.ravel()``, with few other arguments. They give the same results, to the last bit.
    """
    if array.dtype not in _FLOATS:
        return False
    flags = array.flags
    return 0 < array.size < (_FEW if flags.c_contiguous and flags.aligned else _FEW_APART)


def target(out: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return memory for a result: ``out``, contiguous and of as many values, seen in ``shape``; new memory where it is ``None``."""
    if out is None:
        return np.empty(shape, dtype)
    if not out.flags.c_contiguous or not out.flags.writeable or out.size != math.prod(shape):
        raise ValueError(
            f"a result of shape {shape} does not fit into out, {out.shape}, or that cannot be written as it lies"
        )
    return out.reshape(shape)


def threads() -> int:
    """Number of threads the kernels use.

    It is what `set_threads` was told, else ``DQMROOT_THREADS``, else one inside a Dask worker, else one per core.
    """
    if _asked is not None:
        return _asked
    given = os.environ.get("DQMROOT_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    if "DASK_WORKER_NAME" in os.environ or _in_dask_worker():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(n: int | None) -> None:
    """Use ``n`` threads from now on in this process; ``None`` goes back to the default."""
    global _asked  # noqa: PLW0603
    if n is not None and n < 1:
        raise ValueError(f"number of threads must be at least 1; got {n}")
    _asked = n


def _nothing(first: int) -> tuple[Array, ...]:
    del first
    return ()


def over_rows(
    loop: Callable[..., object],
    n: int,
    work: int,
    arguments: tuple[object, ...] = (),
    own: Callable[[int], tuple[Array, ...]] = _nothing,
    row: int = 32,
) -> None:
    """Share rows 0 to ``n`` out over threads.

    Args:
        loop: Called with the first row, the last (exclusive), the arguments, and what ``own`` gives.
        n: Number of rows.
        work: Number of their bytes.
        arguments: The same for all threads.
        own: Makes the memory that each thread needs for itself; called with its first row.
        row: As much as to begin a row takes, in bytes.
    """
    parts = min(n, (work + row * n) // _WORTH_A_THREAD)
    if parts < 2 or _inside.a_part or (workers := min(threads(), parts)) < 2:
        loop(0, n, *arguments, *own(0))
        return
    cuts = [n * part // workers for part in range(workers + 1)]
    # The first call compiles; only one thread needs to.
    pool = _pool(workers - 1)
    rest = [pool.submit(_work, loop, a, b, *arguments, *own(a)) for a, b in itertools.pairwise(cuts[1:])]
    try:
        _work(loop, cuts[0], cuts[1], *arguments, *own(cuts[0]))
    finally:
        for part in rest:
            part.result()


def _work(loop: Callable[..., object], *arguments: object) -> None:
    _inside.a_part = True
    try:
        loop(*arguments)
    finally:
        _inside.a_part = False


def copy(array: Array) -> Array:
    """Return a contiguous copy of ``array``, made by all threads."""
    out = np.empty(array.shape, array.dtype)

    def part(first: int, last: int) -> None:
        out[first:last] = array[first:last]

    over_rows(part, len(array), array.nbytes, row=0)
    return out


def _pool(size: int) -> ThreadPoolExecutor:
    key = (os.getpid(), size)  # threads do not survive a fork
    with _lock:
        if key not in _pools:
            _pools[key] = ThreadPoolExecutor(size, thread_name_prefix="dqmroot-kernel")
        return _pools[key]


def _in_dask_worker() -> bool:
    import sys

    worker = sys.modules.get("distributed.worker")
    if worker is None:
        return False
    try:
        worker.get_worker()
    except ValueError:
        return False
    return True

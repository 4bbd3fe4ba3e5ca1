"""Sums of consecutive rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import bare_kernel
from dqmroot.kernels.rows import is_short, lines, over_rows
from dqmroot.kernels.stream import fetch, take

__all__ = ["window_products", "window_sums"]

Array = NDArray[Any]

# Bins whose sums lie in the first cache.
_PIECE = 1024


def window_sums(values: Array, order: Array, begin: Array, factor: Array, dtype: DTypeLike | None = None) -> Array:
    """For each row the sum of the rows of its window, times a factor.

    Args:
        values: ``(n, [z,] [y,] x)``.
        order: ``(n,)`` int64, the rows in the order in which windows are taken.
        begin: ``(n,)`` int64: the window of ``order[i]`` is ``order[begin[i]]`` to ``order[i]``, inclusive; below 0 means
            no window: the row becomes NaN.
        factor: ``(n,)`` float64, by place in ``order``.
        dtype: Type of the result, a floating type; by default that of ``values``.

    Returns:
        The same shape, in the order of ``values``.
    """
    places = (np.asarray(order, np.int64), np.asarray(begin, np.int64), np.asarray(factor, np.float64))
    dtype = values.dtype if dtype is None else dtype
    if is_short(values):
        n, made, flat = len(values), np.empty(values.shape, dtype), values.ravel()
        flat.setflags(write=False)
        nx, line = len(flat) // n, np.zeros(min(_PIECE, len(flat)))
        _window_sums(0, n, flat, nx, nx, nx, 1, 1, nx, *places, True, made.ravel(), line)
        return made
    flat, strides, shape = lines(values)
    out = np.empty(math.prod(shape), dtype)
    compact = strides[0] == math.prod(shape[1:]) == shape[3]
    work = (flat, *strides, *shape[1:], *places, compact, out)
    over_rows(_window_sums, shape[0], flat.nbytes, work, lambda _: (np.zeros(_PIECE),))
    return out.reshape(values.shape)


def window_products(values: Array, order: Array, begin: Array) -> Array:
    """For each row the product of the rows of its window; arguments as in `window_sums`, the result float64."""
    flat, strides, shape = lines(values)
    out = np.empty(math.prod(shape))
    places = (np.asarray(order, np.int64), np.asarray(begin, np.int64))
    work = (flat, *strides, *shape[1:], *places, out)
    over_rows(_window_products, shape[0], flat.nbytes, work, lambda _: (np.empty(_PIECE),))
    return out.reshape(values.shape)


@bare_kernel
def _window_sums(first, last, flat, sn, sz, sy, nz, ny, nx, order, begin, factor, compact, out, line):  # type: ignore[no-untyped-def]
    i = first
    while i < last:
        # Windows that lie one row behind the one before are added as if they were one long row.
        rows, steps = 1, 0
        while compact and begin[i] >= 0 and steps < i - begin[i] and order[i - steps] == order[i - steps - 1] + 1:
            steps += 1
        while compact and i + rows < last and (rows + 1) * nx <= _PIECE and begin[i] >= 0:
            j = i + rows
            steps = steps + 1 if order[j] == order[j - 1] + 1 else 0
            if begin[j] != begin[j - 1] + 1 or factor[j] != factor[i] or steps < j - begin[j - 1]:
                break
            rows += 1
        by = factor[i] if begin[i] >= 0 else np.nan
        for z in range(nz):
            for y in range(ny):
                for p in range(0, rows * nx, _PIECE):
                    size = min(_PIECE, rows * nx - p)
                    offset, j = z * sz + y * sy + p, begin[i] if begin[i] >= 0 else i + 1
                    at = ((order[i] * nz + z) * ny + y) * nx + p
                    newest = order[i] * sn + offset
                    fetch(flat, newest, newest + size)
                    few = j > i - 4
                    # Four at a time, and five at last, so that less is loaded and stored.
                    while j <= i - 8:
                        a, b = order[j] * sn + offset, order[j + 1] * sn + offset
                        c, d = order[j + 2] * sn + offset, order[j + 3] * sn + offset
                        for x in range(size):
                            one = take(flat, a + x) + take(flat, b + x)
                            other = take(flat, c + x) + take(flat, d + x)
                            line[np.uintp(x)] += one + other
                        j += 4
                    while j <= i and (few or j < i - 4):
                        a = order[j] * sn + offset
                        for x in range(size):
                            line[np.uintp(x)] += flat[np.uintp(a + x)]
                        j += 1
                    if few:
                        for x in range(size):
                            out[np.uintp(at + x)] = line[np.uintp(x)] * by
                    else:
                        a, b = order[i - 4] * sn + offset, order[i - 3] * sn + offset
                        c, d = order[i - 2] * sn + offset, order[i - 1] * sn + offset
                        for x in range(size):
                            one = take(flat, a + x) + take(flat, b + x)
                            other = take(flat, c + x) + take(flat, d + x)
                            last_one = line[np.uintp(x)] + take(flat, newest + x)
                            out[np.uintp(at + x)] = (one + other + last_one) * by
                    for x in range(size if few or begin[i] < i - 4 else 0):
                        line[np.uintp(x)] = 0.0
        i += rows


@bare_kernel
def _window_products(first, last, flat, sn, sz, sy, nz, ny, nx, order, begin, out, line):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                for p in range(0, nx, _PIECE):
                    size, j = min(_PIECE, nx - p), begin[i]
                    for x in range(size):
                        line[x] = 1.0 if j >= 0 else np.nan
                    while 0 <= j <= i:
                        start = order[j] * sn + z * sz + y * sy + p
                        for x in range(size):
                            line[x] *= flat[np.uintp(start + x)]
                        j += 1
                    at = ((order[i] * nz + z) * ny + y) * nx + p
                    for x in range(size):
                        out[np.uintp(at + x)] = line[x]

"""Sums of consecutive rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import fast_kernel
from dqmroot.kernels.rows import lines, over_rows

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
    flat, strides, shape = lines(values)
    out = np.empty(math.prod(shape), values.dtype if dtype is None else dtype)
    places = (np.asarray(order, np.int64), np.asarray(begin, np.int64), np.asarray(factor, np.float64))
    compact = strides[0] == math.prod(shape[1:]) == shape[3]
    joined = _joined(*places) if compact else np.zeros(shape[0], bool)
    over_rows(_window_sums, shape[0], flat.nbytes, flat, *strides, *shape[1:], *places, joined, out)
    return out.reshape(values.shape)


def _joined(order: Array, begin: Array, factor: Array) -> Array:
    """``(n,)`` bool: the windows that lie one row behind the one before, so that both are added as if they were one long row."""
    run = np.cumsum(np.diff(order, prepend=order[:1]) != 1)
    out = np.zeros(len(order), bool)
    out[1:] = (begin[:-1] >= 0) & (np.diff(begin) == 1) & (factor[1:] == factor[:-1]) & (run[begin[:-1]] == run[1:])
    return out


def window_products(values: Array, order: Array, begin: Array) -> Array:
    """For each row the product of the rows of its window; arguments as in `window_sums`, the result float64."""
    flat, strides, shape = lines(values)
    out = np.empty(math.prod(shape))
    places = (np.asarray(order, np.int64), np.asarray(begin, np.int64))
    over_rows(_window_products, shape[0], flat.nbytes, flat, *strides, *shape[1:], *places, out)
    return out.reshape(values.shape)


@fast_kernel
def _window_sums(first, last, flat, sn, sz, sy, nz, ny, nx, order, begin, factor, joined, out):  # type: ignore[no-untyped-def]
    line = np.empty(_PIECE)
    i = first
    while i < last:
        rows = 1
        while i + rows < last and joined[i + rows] and (rows + 1) * nx <= _PIECE:
            rows += 1
        for z in range(nz):
            for y in range(ny):
                for p in range(0, rows * nx, _PIECE):
                    size = min(_PIECE, rows * nx - p)
                    offset, j = z * sz + y * sy + p, begin[i]
                    for x in range(size):
                        line[x] = 0.0 if j >= 0 else np.nan
                    while 0 <= j <= i - 3:
                        # Four at a time, so that less is loaded and stored.
                        a, b = order[j] * sn + offset, order[j + 1] * sn + offset
                        c, d = order[j + 2] * sn + offset, order[j + 3] * sn + offset
                        for x in range(size):
                            one = np.float64(flat[np.uintp(a + x)]) + np.float64(flat[np.uintp(b + x)])
                            other = np.float64(flat[np.uintp(c + x)]) + np.float64(flat[np.uintp(d + x)])
                            line[x] += one + other
                        j += 4
                    while 0 <= j <= i:
                        a = order[j] * sn + offset
                        for x in range(size):
                            line[x] += flat[np.uintp(a + x)]
                        j += 1
                    at = ((order[i] * nz + z) * ny + y) * nx + p
                    for x in range(size):
                        out[np.uintp(at + x)] = line[x] * factor[i]
        i += rows


@fast_kernel
def _window_products(first, last, flat, sn, sz, sy, nz, ny, nx, order, begin, out):  # type: ignore[no-untyped-def]
    line = np.empty(_PIECE)
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

"""Sums of consecutive rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import fast_kernel, inner_kernel
from dqmroot.kernels.rows import over_rows, rows

__all__ = ["window_products", "window_sums"]

Array = NDArray[Any]


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
    flat, strides, shape = rows(values)
    out = np.empty(shape, values.dtype if dtype is None else dtype)
    places = (np.asarray(order, np.int64), np.asarray(begin, np.int64), np.asarray(factor, np.float64))
    over_rows(_window_sums, shape[0], flat.nbytes, flat, *strides, *shape[1:], *places, out)
    return out.reshape(values.shape)


def window_products(values: Array, order: Array, begin: Array) -> Array:
    """For each row the product of the rows of its window; arguments as in `window_sums`, the result float64."""
    flat, strides, shape = rows(values)
    out = np.empty(shape)
    places = (np.asarray(order, np.int64), np.asarray(begin, np.int64))
    over_rows(_window_products, shape[0], flat.nbytes, flat, *strides, *shape[1:], *places, out)
    return out.reshape(values.shape)


@inner_kernel
def _start(source, target):  # type: ignore[no-untyped-def]
    for x in range(len(target)):
        target[x] = source[x]


@inner_kernel
def _add(source, target):  # type: ignore[no-untyped-def]
    for x in range(len(target)):
        target[x] += source[x]


@inner_kernel
def _finish(source, factor, target):  # type: ignore[no-untyped-def]
    for x in range(len(target)):
        target[x] = source[x] * factor


@fast_kernel
def _window_sums(first, last, flat, sn, sz, sy, nz, ny, nx, order, begin, factor, out):  # type: ignore[no-untyped-def]
    line = np.empty(nx)
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                target = out[order[i], z, y]
                if begin[i] < 0:
                    target[:] = np.nan
                    continue
                offset = z * sz + y * sy
                start = order[begin[i]] * sn + offset
                _start(flat[start : start + nx], line)
                for j in range(begin[i] + 1, i + 1):
                    start = order[j] * sn + offset
                    _add(flat[start : start + nx], line)
                _finish(line, factor[i], target)


@inner_kernel
def _times(source, target):  # type: ignore[no-untyped-def]
    for x in range(len(target)):
        target[x] *= source[x]


@fast_kernel
def _window_products(first, last, flat, sn, sz, sy, nz, ny, nx, order, begin, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                target = out[order[i], z, y]
                if begin[i] < 0:
                    target[:] = np.nan
                    continue
                target[:] = 1.0
                for j in range(begin[i], i + 1):
                    start = order[j] * sn + z * sz + y * sy
                    _times(flat[start : start + nx], target)

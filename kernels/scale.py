"""Normalisation: every row multiplied by one number found from the row itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import fast_kernel, inner_kernel
from dqmroot.kernels.rows import over_rows, rows, target

__all__ = [
    "MODES",
    "Region",
    "divisor_of",
    "divisors",
    "linear",
    "multiply_line",
    "normalise",
    "row_sums",
    "scale_rows",
]

Array = NDArray[Any]
Region = tuple[tuple[int, int], ...]

MODES = {"integral": 0, "maximum": 1}


def normalise(
    values: Array, mode: str, region: Region, dtype: DTypeLike | None = None, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Divide each row by the sum or the maximum of its bins in ``region``.

    Args:
        values: ``(n, [z,] [y,] x)``.
        mode: ``"integral"`` or ``"maximum"``.
        region: First and last bin (exclusive) per axis of bins, in the order of the array.
        dtype: Type of the result; by default that of ``values``.
        out: Memory for the result; new memory by default.

    Returns:
        The divided values, ``(n,)`` the divisors in float64 (NaN where a row's is not above 0 or not finite), and
        ``(n,)`` the number of negative values in the region.
    """
    flat, strides, shape = rows(values)
    inside = ((0, 1),) * (3 - len(region)) + tuple(region)
    out = target(out, shape, values.dtype if dtype is None else dtype)
    divisor = np.empty(shape[0])
    negative = np.empty(shape[0], np.int64)
    box = [int(edge) for pair in inside for edge in pair]
    over_rows(_normalise, shape[0], flat.nbytes, flat, *strides, *shape[1:], *box, MODES[mode], out, divisor, negative)
    return out.reshape(values.shape), divisor, negative


def divisors(values: Array, mode: str) -> tuple[Array, Array]:
    """Find what `normalise` divides each row by.

    Args:
        values: ``(n, [z,] [y,] x)``.
        mode: ``"integral"`` or ``"maximum"``.

    Returns:
        ``(n,)`` the divisors in float64 (NaN where not above 0 or not finite), ``(n,)`` the number of negative values.
    """
    flat, strides, shape = rows(values)
    divisor = np.empty(shape[0])
    negative = np.empty(shape[0], np.int64)
    over_rows(_divisors, shape[0], flat.nbytes, flat, *strides, *shape[1:], MODES[mode], divisor, negative)
    return divisor, negative


def row_sums(values: Array) -> Array:
    """``(n,)`` float64 sums of the rows of ``values``, ``(n, [z,] [y,] x)``."""
    flat, strides, shape = rows(values)
    out = np.empty(shape[0])
    over_rows(_row_sums, shape[0], flat.nbytes, flat, *strides, *shape[1:], out)
    return out


def scale_rows(values: Array, divisor: Array, dtype: DTypeLike | None = None) -> Array:
    """Divide row i of ``values``, ``(n, [z,] [y,] x)``, by ``divisor[i]``."""
    flat, strides, shape = rows(values)
    out = np.empty(shape, values.dtype if dtype is None else dtype)
    over_rows(_scale, shape[0], flat.nbytes, flat, *strides, *shape[1:], np.asarray(divisor, np.float64), out)
    return out.reshape(values.shape)


@inner_kernel
def _sums(source):  # type: ignore[no-untyped-def]
    """The sum, and the sum of the absolute values, which are equal where nothing is negative."""
    total, size = 0.0, 0.0
    for x in range(len(source)):
        value = np.float64(source[x])
        total += value
        size += abs(value)
    return total, size


@inner_kernel
def _negative(source):  # type: ignore[no-untyped-def]
    count = 0
    for x in range(len(source)):
        count += source[x] < 0
    return count


@inner_kernel
def _maximum(source):  # type: ignore[no-untyped-def]
    # Four at a time: each comparison waits for the one before it.
    a = b = c = d = source[0]
    n = len(source) // 4 * 4
    for x in range(0, n, 4):
        p, q, r, s = source[x], source[x + 1], source[x + 2], source[x + 3]
        a = p if p > a else a  # noqa: FURB136 - max() is slower
        b = q if q > b else b  # noqa: FURB136
        c = r if r > c else c  # noqa: FURB136
        d = s if s > d else d  # noqa: FURB136
    for x in range(n, len(source)):
        a = max(a, source[x])
    return np.float64(max(a, b, c, d))


@inner_kernel
def multiply_line(source, factor, target):  # type: ignore[no-untyped-def]
    """Multiply a line by ``factor``."""
    for x in range(len(source)):
        target[x] = source[x] * factor


@inner_kernel
def divisor_of(flat, begin, sz, sy, z0, z1, y0, y1, x0, x1, mode):  # type: ignore[no-untyped-def]
    """What a row is divided by, NaN where it cannot be, and the number of its negative values."""
    total, size, top, below = 0.0, 0.0, -np.inf, 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            start = begin + z * sz + y * sy
            source = flat[start + x0 : start + x1]
            part, magnitude = _sums(source)
            total += part
            size += magnitude
            if mode == 1 and x1 > x0:
                top = max(top, _maximum(source))
    if total != size:
        for z in range(z0, z1):
            for y in range(y0, y1):
                start = begin + z * sz + y * sy
                below += _negative(flat[start + x0 : start + x1])
    by = total
    if mode == 1:
        # The sum carries a NaN of any bin; the maximum would skip it.
        by = np.nan if np.isnan(total) else top
    return (by if by > 0.0 and by < np.inf else np.nan), below


@fast_kernel
def _row_sums(first, last, flat, sn, sz, sy, nz, ny, nx, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        total = 0.0
        for z in range(nz):
            for y in range(ny):
                begin = i * sn + z * sz + y * sy
                total += _sums(flat[begin : begin + nx])[0]
        out[i] = total


@fast_kernel
def _divisors(first, last, flat, sn, sz, sy, nz, ny, nx, mode, divisor, negative):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        divisor[i], negative[i] = divisor_of(flat, i * sn, sz, sy, 0, nz, 0, ny, 0, nx, mode)


@fast_kernel
def _normalise(first, last, flat, sn, sz, sy, nz, ny, nx, z0, z1, y0, y1, x0, x1, mode, out, divisor, negative):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        by, below = divisor_of(flat, i * sn, sz, sy, z0, z1, y0, y1, x0, x1, mode)
        divisor[i] = by
        negative[i] = below
        factor = 1.0 / by
        for z in range(nz):
            for y in range(ny):
                begin = i * sn + z * sz + y * sy
                multiply_line(flat[begin : begin + nx], factor, out[i, z, y])


@fast_kernel
def _scale(first, last, flat, sn, sz, sy, nz, ny, nx, divisor, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        factor = 1.0 / divisor[i]
        for z in range(nz):
            for y in range(ny):
                begin = i * sn + z * sz + y * sy
                multiply_line(flat[begin : begin + nx], factor, out[i, z, y])


def linear(values: Array, by: Array, less: Array, dtype: DTypeLike | None = None) -> Array:
    """``(values - less) / by`` for each bin.

    Args:
        values: ``(n, [z,] [y,] x)``.
        by: ``([z,] [y,] x)`` float64, no 0.
        less: The same shape, float64.
        dtype: Type of the result; by default that of ``values``.
    """
    flat, strides, shape = rows(values)
    out = np.empty(shape, values.dtype if dtype is None else dtype)
    maps = [np.ascontiguousarray(array, np.float64).reshape(shape[1:]) for array in (1.0 / np.asarray(by), less)]
    over_rows(_linear, shape[0], flat.nbytes, flat, *strides, *shape[1:], *maps, out)
    return out.reshape(values.shape)


@inner_kernel
def _linear_line(source, factor, less, target):  # type: ignore[no-untyped-def]
    for x in range(len(source)):
        target[x] = (source[x] - less[x]) * factor[x]


@fast_kernel
def _linear(first, last, flat, sn, sz, sy, nz, ny, nx, factor, less, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                begin = i * sn + z * sz + y * sy
                _linear_line(flat[begin : begin + nx], factor[z, y], less[z, y], out[i, z, y])

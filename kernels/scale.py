"""Normalisation: every row multiplied by one number found from the row itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import fast_kernel, inner_kernel
from dqmroot.kernels.rows import lines, over_rows, rows, target

__all__ = [
    "CACHED",
    "MAXIMUM",
    "Region",
    "divisors",
    "find_maxima",
    "find_sums",
    "invert_divisors",
    "linear",
    "multiply",
    "normalise",
    "row_sums",
    "scale_rows",
]

Array = NDArray[Any]
Region = tuple[tuple[int, int], ...]

# None is known when a loop is compiled, so that the integral gets a loop of its own.
MAXIMUM = {"integral": None, "maximum": True}
# So many bins are worked on twice in a row.
CACHED = 1 << 13

_LANES = 8


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
    whole = all(low == 0 and high == size for (low, high), size in zip(region, values.shape[1:], strict=True))
    flat, strides, shape = lines(values) if whole else rows(values)
    box = _box(region, shape, whole=whole)
    made = target(out, shape, values.dtype if dtype is None else dtype)
    divisor = np.empty(shape[0])
    negative = np.empty(shape[0], np.int64)
    work = (flat, *strides, *shape[1:], *box, MAXIMUM[mode], divisor, negative, made.reshape(-1))
    over_rows(_normalise, shape[0], flat.nbytes, *work)
    return made.reshape(values.shape), divisor, negative


def divisors(values: Array, mode: str) -> tuple[Array, Array]:
    """Find what `normalise` divides each row by.

    Args:
        values: ``(n, [z,] [y,] x)``.
        mode: ``"integral"`` or ``"maximum"``.

    Returns:
        ``(n,)`` the divisors in float64 (NaN where not above 0 or not finite), ``(n,)`` the number of negative values.
    """
    flat, strides, shape = lines(values)
    divisor = np.empty(shape[0])
    negative = np.empty(shape[0], np.int64)
    box = _box((), shape, whole=True)
    over_rows(
        _find_divisors,
        shape[0],
        flat.nbytes,
        flat,
        *strides,
        *box,
        MAXIMUM[mode],
        divisor,
        negative,
        np.empty(shape[0]),
    )
    return divisor, negative


def _box(region: Region, shape: tuple[int, ...], *, whole: bool) -> tuple[int, ...]:
    """First and last bin (exclusive) of three axes, one after the other."""
    pairs = [(0, size) for size in shape[1:]] if whole else [(0, 1)] * (3 - len(region)) + list(region)
    return tuple(int(edge) for pair in pairs for edge in pair)


def row_sums(values: Array) -> Array:
    """``(n,)`` float64 sums of the rows of ``values``, ``(n, [z,] [y,] x)``."""
    flat, strides, shape = lines(values)
    out = np.empty(shape[0])
    over_rows(_row_sums, shape[0], flat.nbytes, flat, *strides, *shape[1:], out)
    return out


def scale_rows(values: Array, divisor: Array, dtype: DTypeLike | None = None) -> Array:
    """Divide row i of ``values``, ``(n, [z,] [y,] x)``, by ``divisor[i]``."""
    flat, strides, shape = lines(values)
    out = np.empty(math.prod(shape), values.dtype if dtype is None else dtype)
    with np.errstate(divide="ignore"):
        factor = 1.0 / np.asarray(divisor, np.float64)
    over_rows(_multiply, shape[0], flat.nbytes, flat, *strides, *shape[1:], factor, out)
    return out.reshape(values.shape)


# Loops index the flat buffer with unsigned numbers: a signed index that may be negative is not vectorised, and a slice
# counts its references.


@fast_kernel
def _row_sums(first, last, flat, sn, sz, sy, nz, ny, nx, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        total = 0.0
        for z in range(nz):
            for y in range(ny):
                begin = i * sn + z * sz + y * sy
                for x in range(nx):
                    total += np.float64(flat[np.uintp(begin + x)])
        out[i] = total


@inner_kernel
def find_sums(first, last, flat, sn, sz, sy, z0, z1, y0, y1, x0, x1, divisor, negative):  # type: ignore[no-untyped-def]
    """Find the sum of each row in a box, and the number of its negative values."""
    for i in range(first, last):
        total = 0.0
        below: Any = 0
        for z in range(z0, z1):
            for y in range(y0, y1):
                begin = i * sn + z * sz + y * sy
                for x in range(x0, x1):
                    value = np.float64(flat[np.uintp(begin + x)])
                    total += value
                    below += value < 0.0
        divisor[i] = total
        negative[i] = below


@inner_kernel
def find_maxima(first, last, flat, sn, sz, sy, z0, z1, y0, y1, x0, x1, divisor):  # type: ignore[no-untyped-def]
    """Put maxima in place of sums that are no NaN."""
    lanes = np.empty(_LANES)
    for i in range(first, last):
        for j in range(_LANES):
            lanes[j] = -np.inf
        for z in range(z0, z1):
            for y in range(y0, y1):
                begin, middle = i * sn + z * sz + y * sy, x1 - (x1 - x0) % _LANES
                for x in range(x0, middle, _LANES):
                    for j in range(_LANES):
                        value = np.float64(flat[np.uintp(begin + x + j)])
                        lanes[j] = value if value > lanes[j] else lanes[j]  # noqa: FURB136 - max() is not vectorised
                for x in range(middle, x1):
                    value = np.float64(flat[np.uintp(begin + x)])
                    lanes[0] = value if value > lanes[0] else lanes[0]  # noqa: FURB136
        # The sum carries a NaN of any bin; a comparison would skip it.
        top = divisor[i] if np.isnan(divisor[i]) else -np.inf
        for j in range(_LANES):
            top = lanes[j] if lanes[j] > top else top  # noqa: FURB136
        divisor[i] = top


@inner_kernel
def multiply(first, last, flat, sn, sz, sy, nz, ny, nx, base, factor, out):  # type: ignore[no-untyped-def]
    """Multiply row i by ``factor[i - base]``; ``out``, flat, may be ``flat``."""
    # The factors come from memory: what the compiler sees to be 1 / x it would turn into many divisions.
    for i in range(first, last):
        by = factor[i - base]
        for z in range(nz):
            for y in range(ny):
                begin, at = i * sn + z * sz + y * sy, ((i * nz + z) * ny + y) * nx
                for x in range(nx):
                    out[np.uintp(at + x)] = flat[np.uintp(begin + x)] * by


@inner_kernel
def invert_divisors(first, last, divisor, factor):  # type: ignore[no-untyped-def]
    """Make NaN of divisors that are not above 0 or not finite, and ``factor`` their inverse, from its begin on."""
    for i in range(first, last):
        divisor[i] = divisor[i] if divisor[i] > 0.0 and divisor[i] < np.inf else np.nan
        factor[i - first] = 1.0 / divisor[i]


@fast_kernel
def _find_divisors(first, last, flat, sn, sz, sy, z0, z1, y0, y1, x0, x1, maximum, divisor, negative, factor):  # type: ignore[no-untyped-def]
    find_sums(first, last, flat, sn, sz, sy, z0, z1, y0, y1, x0, x1, divisor, negative)
    if maximum is not None:
        find_maxima(first, last, flat, sn, sz, sy, z0, z1, y0, y1, x0, x1, divisor)
    invert_divisors(first, last, divisor, factor[first:])


@fast_kernel
def _multiply(first, last, flat, sn, sz, sy, nz, ny, nx, factor, out):  # type: ignore[no-untyped-def]
    multiply(first, last, flat, sn, sz, sy, nz, ny, nx, 0, factor, out)


@fast_kernel
def _normalise(first, last, flat, sn, sz, sy, nz, ny, nx, z0, z1, y0, y1, x0, x1, maximum, divisor, negative, out):  # type: ignore[no-untyped-def]
    # Few rows at a time, so that they are still in the cache when they are divided.
    step = max(1, CACHED // max(nz * ny * nx, 1))
    factor = np.empty(step)
    for begin in range(first, last, step):
        end = min(begin + step, last)
        find_sums(begin, end, flat, sn, sz, sy, z0, z1, y0, y1, x0, x1, divisor, negative)
        if maximum is not None:
            find_maxima(begin, end, flat, sn, sz, sy, z0, z1, y0, y1, x0, x1, divisor)
        invert_divisors(begin, end, divisor, factor)
        multiply(begin, end, flat, sn, sz, sy, nz, ny, nx, begin, factor, out)


def linear(values: Array, by: Array, less: Array, dtype: DTypeLike | None = None) -> Array:
    """``(values - less) / by`` for each bin.

    Args:
        values: ``(n, [z,] [y,] x)``.
        by: ``([z,] [y,] x)`` float64, no 0.
        less: The same shape, float64.
        dtype: Type of the result; by default that of ``values``.
    """
    flat, strides, shape = lines(values)
    out = np.empty(math.prod(shape), values.dtype if dtype is None else dtype)
    maps = [np.ascontiguousarray(array, np.float64).reshape(-1) for array in (1.0 / np.asarray(by), less)]
    over_rows(_linear, shape[0], flat.nbytes, flat, *strides, *shape[1:], *maps, out)
    return out.reshape(values.shape)


@fast_kernel
def _linear(first, last, flat, sn, sz, sy, nz, ny, nx, factor, less, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                begin, at = i * sn + z * sz + y * sy, (z * ny + y) * nx
                to = i * nz * ny * nx + at
                for x in range(nx):
                    value = flat[np.uintp(begin + x)] - less[np.uintp(at + x)]
                    out[np.uintp(to + x)] = value * factor[np.uintp(at + x)]

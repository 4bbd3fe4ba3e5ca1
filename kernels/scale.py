"""Normalisation: every row multiplied by one number found from the row itself."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import bare_steady, inner_kernel
from dqmroot.kernels.lanes import put_line, scale_line, sum_line, top_line
from dqmroot.kernels.rows import is_short, lines, over_rows, rows, target
from dqmroot.kernels.stream import PIECE, REST, fetch, gather, put, room, take

__all__ = [
    "NARROW",
    "Region",
    "divisors",
    "linear",
    "normalise",
    "row_sums",
    "scale_rows",
]

Array = NDArray[Any]
Region = tuple[tuple[int, int], ...]

# None is known when a loop is compiled, so that the integral gets a loop of its own.
_MAXIMUM = {"integral": None, "maximum": True}
# So many bins are worked on twice in a row.
_CACHED_ROWS = 1 << 17

NARROW = 8
"""Rows of fewer bins NumPy works on faster."""


def normalise(
    values: Array, mode: str, region: Region | None = None, dtype: DTypeLike | None = None, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Divide each row by the sum or the maximum of its bins in ``region``.

    Args:
        values: ``(n, [z,] [y,] x)``.
        mode: ``"integral"`` or ``"maximum"``.
        region: First and last bin (exclusive) per axis of bins, in the order of the array; all bins by default.
        dtype: Type of the result; by default that of ``values``.
        out: Memory for the result; new memory by default.

    Returns:
        The divided values, ``(n,)`` the divisors in float64 (NaN where a row's is not above 0 or not finite), and
        ``(n,)`` the number of negative values in the region.
    """
    dtype, n = values.dtype if dtype is None else dtype, len(values)
    divisor, negative = np.empty(n), np.empty(n, np.int64)
    whole = region is None or tuple(region) == tuple((0, size) for size in values.shape[1:])
    if whole and is_short(values) and _one_line(values):
        made = target(out, values.shape, dtype)
        _normalise_short(values.ravel(), _MAXIMUM[mode], divisor, negative, made.ravel())
        return made, divisor, negative
    flat, strides, shape = lines(values) if whole else rows(values)
    size = math.prod(shape[1:])
    made = target(out, shape, dtype)
    result = made.reshape(-1)
    if whole and strides[0] == size == shape[3]:
        work = (flat, size, _MAXIMUM[mode], divisor, negative, result)
        over_rows(_normalise, n, flat.nbytes, work, lambda first: gather(result, first * size))
    else:
        box = (flat, *strides, *_box(region or (), shape, whole=whole), _MAXIMUM[mode], divisor, negative)
        over_rows(_by_parts, n, flat.nbytes, (box, (flat, *strides, *shape[1:]), divisor, result))
    return made.reshape(values.shape), divisor, negative


def _one_line(values: Array) -> bool:
    """Return whether the bins of a row are added as one line, however many rows there are: else line after line."""
    return values.ndim == 2 or values.flags.c_contiguous


def _by_parts(first: int, last: int, box: tuple[Any, ...], work: tuple[Any, ...], divisor: Array, out: Array) -> None:
    """Find divisors, and divide, so few rows at a time that they are still in the cache when they are divided."""
    find, by, size = cast("Any", _find_divisors), cast("Any", _multiply), math.prod(work[4:])
    step = max(1, _CACHED_ROWS // max(size, 1))
    for begin in range(first, last, step):
        end = min(begin + step, last)
        find(begin, end, *box)
        by(begin, end, *work, divisor, out, *gather(out, begin * size))


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
    work = (flat, *strides, *box, _MAXIMUM[mode], divisor, negative)
    over_rows(_find_divisors, shape[0], flat.nbytes, work)
    return divisor, negative


def _box(region: Region, shape: tuple[int, ...], *, whole: bool) -> tuple[int, ...]:
    """First and last bin (exclusive) of three axes, one after the other."""
    pairs = [(0, size) for size in shape[1:]] if whole else [(0, 1)] * (3 - len(region)) + list(region)
    return tuple(int(edge) for pair in pairs for edge in pair)


def row_sums(values: Array) -> Array:
    """``(n,)`` float64 sums of the rows of ``values``, ``(n, [z,] [y,] x)``."""
    if is_short(values) and _one_line(values):
        out = np.empty(len(values))
        _sum_short(values.ravel(), out)
        return out
    flat, strides, shape = lines(values)
    out = np.empty(shape[0])
    over_rows(_row_sums, shape[0], flat.nbytes, (flat, *strides, *shape[1:], out))
    return out


def scale_rows(values: Array, divisor: Array, dtype: DTypeLike | None = None, out: Array | None = None) -> Array:
    """Divide row i of ``values``, ``(n, [z,] [y,] x)``, by ``divisor[i]``; the result goes to ``out`` where it is given."""
    dtype, divisor = values.dtype if dtype is None else dtype, np.asarray(divisor, np.float64)
    if is_short(values):
        made = np.empty(values.shape, dtype) if out is None else target(out, values.shape, dtype)
        _scale_short(values.ravel(), divisor, made.ravel())
        return made
    flat, strides, shape = lines(values)
    made = target(out, shape, dtype)
    result = made.reshape(-1)
    if values.ndim == 2 and values.shape[1] < NARROW and values.dtype.kind == "f":
        over_rows(_multiply_narrow, shape[0], result.nbytes, (values, divisor, made.reshape(values.shape)))
        return made.reshape(values.shape)
    work = (flat, *strides, *shape[1:], divisor, result)
    over_rows(_multiply, shape[0], result.nbytes, work, lambda first: gather(result, first * math.prod(shape[1:])))
    return made.reshape(values.shape)


def _multiply_narrow(first: int, last: int, values: Array, divisor: Array, out: Array) -> None:
    with np.errstate(all="ignore"):
        np.multiply(values[first:last], (1.0 / divisor[first:last])[:, None], out=out[first:last], casting="unsafe")


# Sums keep their order: few rows and many, which other loops work on, give the same ones.
# Loops index the flat buffer with unsigned numbers: a signed index that may be negative is not vectorised, and a slice
# counts its references.


@bare_steady
def _row_sums(first, last, flat, sn, sz, sy, nz, ny, nx, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        total = 0.0
        for z in range(nz):
            for y in range(ny):
                begin = i * sn + z * sz + y * sy
                for p in range(begin, begin + nx, PIECE):
                    stop = min(p + PIECE, begin + nx)
                    fetch(flat, p, stop)
                    total += sum_line(flat, p, stop - p)[0]
        out[i] = total


@bare_steady
def _sum_short(flat, out):  # type: ignore[no-untyped-def]
    nx = len(flat) // len(out)
    for i in range(len(out)):
        total, end = 0.0, (i + 1) * nx
        for p in range(i * nx, end, PIECE):
            total += sum_line(flat, p, min(PIECE, end - p))[0]
        out[i] = total


@inner_kernel
def _measure(flat, begin, nx, maximum):  # type: ignore[no-untyped-def]
    """Return the sum, or the largest and at least 0, of a line, NaN where there is one, and how many of its values are negative."""
    found, sign = sum_line(flat, begin, nx) if maximum is None else top_line(flat, begin, nx)
    below = 0
    # Most lines have no negative value: they are counted only where a sign is set.
    for x in range(begin, begin + nx if sign else begin):
        below += flat[np.uintp(x)] < 0
        found = np.nan if np.isnan(flat[np.uintp(x)]) else found
    return found, below


@inner_kernel
def _divisor(found):  # type: ignore[no-untyped-def]
    return found if found > 0.0 and found < np.inf else np.nan


@bare_steady
def _normalise_short(flat, maximum, divisor, negative, out):  # type: ignore[no-untyped-def]
    nx = len(flat) // len(divisor)
    for i in range(len(divisor)):
        found, negative[i] = _measure(flat, i * nx, nx, maximum)
        divisor[i] = _divisor(found)
        scale_line(out, i * nx, flat, i * nx, nx, 1.0 / divisor[i])


@bare_steady
def _normalise(first, last, flat, nx, maximum, divisor, negative, out, line, mark):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        row = i * nx
        found, negative[i] = _measure(flat, row, nx, maximum)
        divisor[i] = _divisor(found)
        by = 1.0 / divisor[i]
        for p in range(row, row + nx, PIECE):
            size = min(PIECE, row + nx - p)
            fetch(flat, p, p + size)
            scale_line(line, room(out, line, mark, size), flat, p, size, by)
    room(out, line, mark, REST)


@bare_steady
def _find_divisors(  # type: ignore[no-untyped-def]
    first, last, flat, sn, sz, sy, z0, z1, y0, y1, x0, x1, maximum, divisor, negative
):
    for i in range(first, last):
        total, below = 0.0, 0
        for z in range(z0, z1):
            for y in range(y0, y1):
                begin = i * sn + z * sz + y * sy
                fetch(flat, begin + x0, begin + x1)
                part, fewer = _measure(flat, begin + x0, x1 - x0, maximum)
                below += fewer
                if maximum is None or np.isnan(part):
                    total += part
                elif part > total:  # which a NaN never lets happen
                    total = part
        negative[i] = below
        divisor[i] = _divisor(total)


@bare_steady
def _multiply(first, last, flat, sn, sz, sy, nz, ny, nx, divisor, out, line, mark):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        by = 1.0 / divisor[i]
        for z in range(nz):
            for y in range(ny):
                for p in range(0, nx, PIECE):
                    begin, size = i * sn + z * sz + y * sy + p, min(PIECE, nx - p)
                    fetch(flat, begin, begin + size)
                    at = room(out, line, mark, size)
                    if by == 1.0:
                        put_line(line, at, flat, begin, size)
                    else:
                        scale_line(line, at, flat, begin, size, by)
    room(out, line, mark, REST)


@bare_steady
def _scale_short(flat, divisor, out):  # type: ignore[no-untyped-def]
    nx = len(flat) // len(divisor)
    for i in range(len(divisor)):
        scale_line(out, i * nx, flat, i * nx, nx, 1.0 / divisor[i])


def linear(values: Array, by: Array, less: Array, dtype: DTypeLike | None = None) -> Array:
    """``(values - less) / by`` for each bin.

    Args:
        values: ``(n, [z,] [y,] x)``.
        by: ``([z,] [y,] x)`` float64, no 0.
        less: The same shape, float64.
        dtype: Type of the result; by default that of ``values``.
    """
    dtype, factor = values.dtype if dtype is None else dtype, (1.0 / np.asarray(by)).ravel()
    less = np.asarray(less, np.float64).ravel()
    if is_short(values):
        made = np.empty(values.shape, dtype)
        _linear_short(values.ravel(), factor, less, made.ravel())
        return made
    flat, strides, shape = lines(values)
    out = np.empty(math.prod(shape), dtype)
    over_rows(_linear, shape[0], flat.nbytes, (flat, *strides, *shape[1:], factor, less, out))
    return out.reshape(values.shape)


@bare_steady
def _linear(first, last, flat, sn, sz, sy, nz, ny, nx, factor, less, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                begin, at = i * sn + z * sz + y * sy, (z * ny + y) * nx
                to = i * nz * ny * nx + at
                for x in range(nx):
                    value = flat[np.uintp(begin + x)] - less[np.uintp(at + x)]
                    out[np.uintp(to + x)] = value * factor[np.uintp(at + x)]


@bare_steady
def _linear_short(flat, factor, less, out):  # type: ignore[no-untyped-def]
    for row in range(0, len(flat), len(less)):
        for x in range(len(less)):
            put(out, row + x, (take(flat, row + x) - take(less, x)) * take(factor, x))

"""The mean of the k largest differences of each row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.abreast import MOST, best_abreast, lanes_of
from dqmroot.kernels.jit import bare_kernel, inner_kernel
from dqmroot.kernels.rows import is_short, lines, over_rows, target
from dqmroot.kernels.scale import NARROW
from dqmroot.kernels.stream import PIECE, REST, fetch, gather, put, room, take

__all__ = ["DIFFERENCES", "differences", "top_mean"]

Array = NDArray[Any]

# None is known when a loop is compiled, so that the usual difference gets a loop of its own.
DIFFERENCES = {"squared": None, "chi2": 1, "deviance": 2, "pull": 3}

# Below so many bins rows are sorted side by side, if k is small; from so many on, and up to so large a k, an insertion is
# the fastest of the rest.
_SHORT, _LONG, _MANY = 1 << 12, 512, 64
# Bins of which the largest is found first.
_CHUNK = 32
# Bins whose differences are worked on together: they stay in the cache.
_CACHED = 1 << 17


def top_mean(values: Array, reference: Array, k: int, kind: str = "squared", floor: float = 0.0) -> Array:
    """Mean of the ``k`` largest differences between ``values`` and ``reference``, for each row.

    Differences of float32 values are rounded to float32 before they are squared.

    Args:
        values: ``(n, [z,] [y,] x)``.
        reference: The same shape, or one row ``([z,] [y,] x)`` for all.
        k: How many; at most the bins of a row.
        kind: ``"squared"`` (v-r)², ``"chi2"`` (v-r)²/r, ``"deviance"`` 2(v·ln(v/r) - v + r), ``"pull"`` abs(v-r)/√r.
        floor: The least value that stands for r below a fraction line.

    Returns:
        ``(n,)`` float64; NaN for rows with a NaN.
    """
    n = len(values)
    if k <= MOST and kind == "squared" and is_short(values) and is_short(reference) and values.size < n * _SHORT:
        lanes, out = lanes_of(values.dtype), np.empty(n)
        found = np.empty((n + lanes - 1) * (values.size // n + lanes) + MOST * lanes, values.dtype)
        _top_short(values.ravel(), reference.ravel(), k, lanes, found[: MOST * lanes], found[MOST * lanes :], out)
        return out
    flat, strides, shape, other, other_strides = _pair(values, reference)
    n_bins, out = math.prod(shape[1:]), np.empty(n)
    dtype = np.dtype(np.float32 if kind == "squared" and flat.dtype == np.float32 else np.float64)
    work = (flat, *strides, other, *other_strides, *shape[1:], DIFFERENCES[kind], float(floor))
    if k <= MOST and n_bins < _SHORT:
        best: Any = _by_sorting
    else:
        best = _by_insertion if k <= _MANY and n_bins >= _LONG else _by_partition
    over_rows(_part, n, flat.nbytes, (work, n_bins, k, dtype, best, out))
    return out


def _part(first: int, last: int, work: tuple[Any, ...], n_bins: int, k: int, dtype: Any, best: Any, out: Array) -> None:
    """Find the differences of some rows at a time, and the best of them."""
    fill: Any = _fill
    lanes = lanes_of(dtype) if best is _by_sorting else 1
    wide = -(-n_bins // lanes) * lanes
    step = max(1, min(_CACHED // max(wide, 1), last - first))
    found, total = np.zeros((-(-step // lanes) * lanes, wide), dtype), np.empty(step)
    for begin in range(first, last, step):
        end = min(begin + step, last)
        fill(begin, end, *work, found.reshape(-1), wide, total)
        best(found, end - begin, k, work[-2] is None, total, out[begin:end])


def _by_sorting(found: Array, n: int, k: int, square: bool, total: Array, out: Array) -> None:
    best: Any = best_abreast
    best(
        found.reshape(-1), n, found.shape[1], k, square, np.empty(MOST * lanes_of(found.dtype), found.dtype), total, out
    )


def _by_insertion(found: Array, n: int, k: int, square: bool, total: Array, out: Array) -> None:
    insert: Any = _insert
    kind, size, best = f"i{found.itemsize}", found.shape[1], np.empty(k, found.dtype)
    high = np.empty(-(-size // _CHUNK), kind)
    # Differences are not negative: they have the order of whole numbers, whose maximum is vectorised.
    insert(n, size, k, square, found.reshape(-1).view(kind), high, best.view(kind), best, total, out)


def _by_partition(found: Array, n: int, k: int, square: bool, total: Array, out: Array) -> None:
    lines = found[:n]
    lines.partition(lines.shape[1] - k, axis=1)
    largest = lines[:, lines.shape[1] - k :].astype(np.float64)
    # A NaN is sorted to the end, and makes the mean NaN.
    np.mean(np.square(largest) if square else largest, axis=1, out=out)
    del total


def differences(
    values: Array, reference: Array, kind: str = "squared", floor: float = 0.0, out: Array | None = None
) -> Array:
    """Difference between ``values`` and ``reference`` bin by bin, as `top_mean` has it, in float64."""
    if kind == "squared" and is_short(values) and is_short(reference):
        made = np.empty(values.shape) if out is None else target(out, values.shape, np.float64)
        _square_short(values.ravel(), reference.ravel(), made.ravel())
        return made
    if kind == "squared" and values.ndim == 2 and values.shape[1] < NARROW:
        made = target(out, values.shape, np.float64)
        over_rows(_squares, len(values), values.nbytes, (values, np.broadcast_to(reference, values.shape), made), row=0)
        return made
    flat, strides, shape, other, other_strides = _pair(values, reference)
    made = target(out, (shape[0], math.prod(shape[1:])), np.float64)
    result = made.reshape(-1)
    work = (flat, *strides, other, *other_strides, *shape[1:], DIFFERENCES[kind], float(floor), result)
    over_rows(_differences, shape[0], flat.nbytes, work, lambda first: gather(result, first * math.prod(shape[1:])))
    return made.reshape(values.shape)


def _squares(first: int, last: int, values: Array, reference: Array, out: Array) -> None:
    part = out[first:last]
    with np.errstate(all="ignore"):
        np.subtract(values[first:last], reference[first:last], out=part, dtype=np.float64)
        np.square(part, out=part)


def _pair(values: Array, reference: Array) -> tuple[Any, ...]:
    """Both arrays as loops see them; a row for all has the stride 0."""
    shared = reference.ndim < values.ndim
    full = reference[np.newaxis] if shared else reference
    flat, strides, shape = lines(values, full)
    other, other_strides, _ = lines(full, values[:1])
    return flat, strides, shape, other, (0, *other_strides[1:]) if shared else other_strides


@inner_kernel
def _difference(v, r, kind, floor):  # type: ignore[no-untyped-def]
    if np.isnan(v) or np.isnan(r):
        return np.nan
    below = max(floor, r)
    if kind == 2:
        if v < 0.0 or below < 0.0:
            return np.nan
        if v == 0.0:
            return 2.0 * below
        if below == 0.0:
            return np.inf
        return max(2.0 * (v * np.log(v / below) - (v - below)), 0.0)
    distance = v - r
    if distance == 0.0:
        return 0.0
    if below <= 0.0:
        return np.inf
    return distance * distance / below if kind == 1 else abs(distance) / np.sqrt(below)


@bare_kernel
def _differences(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, out, line, mark):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                for p in range(0, nx, PIECE):
                    begin, start = i * sn + z * sz + y * sy + p, i * rn + z * rz + y * ry + p
                    size = min(PIECE, nx - p)
                    fetch(flat, begin, begin + size)
                    at = room(out, line, mark, size)
                    for x in range(size):
                        v, r = take(flat, begin + x), take(other, start + x)
                        put(line, at + x, (v - r) * (v - r) if kind is None else _difference(v, r, kind, floor))
    room(out, line, mark, REST)


@bare_kernel
def _square_short(flat, other, out):  # type: ignore[no-untyped-def]
    for row in range(0, len(flat), len(other)):
        for x in range(len(other)):
            d = take(flat, row + x) - take(other, x)
            put(out, row + x, d * d)


@bare_kernel
def _fill(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, found, wide, total):  # type: ignore[no-untyped-def]
    """Fill ``found``, rows of ``wide``, with differences, not squared yet, and ``total`` with their sums, NaN if one of them is."""
    for i in range(first, last):
        summed = 0.0
        for z in range(nz):
            for y in range(ny):
                begin, start = i * sn + z * sz + y * sy, i * rn + z * rz + y * ry
                at = (i - first) * wide + (z * ny + y) * nx
                fetch(flat, begin, begin + nx)
                for x in range(nx):
                    v, r = take(flat, begin + x), take(other, start + x)
                    d = abs(v - r) if kind is None else _difference(v, r, kind, floor)
                    put(found, at + x, d)
                    summed += d
        total[i - first] = summed


@bare_kernel
def _top_short(flat, other, k, lanes, best, found, out):  # type: ignore[no-untyped-def]
    nx = len(flat) // len(out)
    wide = (nx + lanes - 1) // lanes * lanes
    for i in range(len(out)):
        summed = 0.0
        for x in range(nx):
            d = abs(take(flat, i * nx + x) - take(other, i * nx % len(other) + x))
            put(found, i * wide + x, d)
            summed += d
        for x in range(nx, wide):
            put(found, i * wide + x, 0.0)
        out[i] = summed
    best_abreast(found, len(out), wide, k, True, best, out, out)


@bare_kernel
def _insert(n, size, k, square, bits, high, keys, best, total, out):  # type: ignore[no-untyped-def]
    for i in range(n):
        row = i * size
        for c in range(len(high)):
            top = bits.dtype.type(0)
            for x in range(row + c * _CHUNK, row + min(c * _CHUNK + _CHUNK, size)):
                d = bits[np.uintp(x)]
                top = d if d > top else top  # noqa: FURB136 - max() takes longer to compile
            high[c] = top
        for j in range(k):
            keys[j] = -1
        # k bins are at least as large as the k-th of the largest of each chunk: only what is larger still need be looked at.
        if k <= len(high):
            for c in range(len(high)):
                _put_in(high[c], keys, k)
            for j in range(1, k):
                keys[j] = keys[0]
        for c in range(len(high)):
            if high[c] > keys[0]:
                for x in range(row + c * _CHUNK, row + min(c * _CHUNK + _CHUNK, size)):
                    _put_in(bits[np.uintp(x)], keys, k)
        mean = 0.0
        for j in range(k):
            d = take(best, j)
            mean += d * d if square else d
        out[i] = np.nan if np.isnan(total[i]) else mean / k


@inner_kernel
def _put_in(d, keys, k):  # type: ignore[no-untyped-def]
    """Put a number that is larger than the least of ``keys``, ascending, in its place."""
    if d > keys[0]:
        p = 1
        while p < k and keys[p] < d:
            keys[p - 1] = keys[p]
            p += 1
        keys[p - 1] = d

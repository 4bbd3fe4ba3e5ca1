"""The mean of the k largest differences of each row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.jit import fast_kernel, inner_kernel
from dqmroot.kernels.rows import lines, over_rows, target

__all__ = ["DIFFERENCES", "differences", "top_mean"]

Array = NDArray[Any]

# None is known when a loop is compiled, so that the usual difference gets a loop of its own.
DIFFERENCES = {"squared": None, "chi2": 1, "deviance": 2, "pull": 3}

_LANES = 64
# From so many bins on an insertion is faster than a partition, for k up to the number of lanes.
_LONG = 1024
# Up to so many bins and so large a k rows are sorted side by side, so many at once.
_SHORT, _FEW, _ABREAST = 256, 16, 32
# Bins whose differences are worked on together: they stay in the cache.
_CACHED = 1 << 15


def top_mean(values: Array, reference: Array, k: int, kind: str = "squared", floor: float = 0.0) -> Array:
    """Mean of the ``k`` largest differences between ``values`` and ``reference``, for each row.

    Args:
        values: ``(n, [z,] [y,] x)``.
        reference: The same shape, or one row ``([z,] [y,] x)`` for all.
        k: How many; at most the bins of a row.
        kind: ``"squared"`` (v-r)², ``"chi2"`` (v-r)²/r, ``"deviance"`` 2(v·ln(v/r) - v + r), ``"pull"`` abs(v-r)/√r.
        floor: The least value that stands for r below a fraction line.

    Returns:
        ``(n,)`` float64; NaN for rows with a NaN.
    """
    flat, strides, shape, other, other_strides = _pair(values, reference)
    work = (flat, *strides, other, *other_strides, *shape[1:])
    out = np.empty(shape[0])
    n_bins = math.prod(shape[1:])
    if n_bins <= _SHORT and k <= _FEW:
        over_rows(_top_abreast, shape[0], flat.nbytes, *work, k, DIFFERENCES[kind], float(floor), out)
    elif n_bins >= _LONG and k <= _LANES:
        over_rows(_top_by_insertion, shape[0], flat.nbytes, *work, k, DIFFERENCES[kind], float(floor), out)
    else:
        over_rows(_top_by_partition, shape[0], flat.nbytes, work, n_bins, k, DIFFERENCES[kind], float(floor), out)
    return out


def _top_by_partition(
    first: int, last: int, work: tuple[Any, ...], n_bins: int, k: int, kind: int | None, floor: float, out: Array
) -> None:
    step = max(1, min(_CACHED // max(n_bins, 1), last - first))
    found, total = np.empty((step, n_bins)), np.empty(step)
    fill: Any = _fill
    for begin in range(first, last, step):
        end = min(begin + step, last)
        fill(begin, end, *work, kind, floor, found.reshape(-1), total)
        lines = found[: end - begin]
        lines.partition(n_bins - k, axis=1)
        # A NaN is sorted to the end, and makes the mean NaN.
        np.mean(lines[:, n_bins - k :], axis=1, out=out[begin:end])


def differences(
    values: Array, reference: Array, kind: str = "squared", floor: float = 0.0, out: Array | None = None
) -> Array:
    """Difference between ``values`` and ``reference`` bin by bin, as `top_mean` has it, in float64."""
    flat, strides, shape, other, other_strides = _pair(values, reference)
    made = target(out, (shape[0], math.prod(shape[1:])), np.float64)
    total = np.empty(shape[0])
    work = (flat, *strides, other, *other_strides, *shape[1:], DIFFERENCES[kind], float(floor))
    over_rows(_fill_from, shape[0], flat.nbytes, work, made, total)
    return made.reshape(values.shape)


def _fill_from(first: int, last: int, work: tuple[Any, ...], found: Array, total: Array) -> None:
    fill: Any = _fill
    fill(first, last, *work, found[first:last].reshape(-1), total[first:last])


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


@inner_kernel
def _fill_squares(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, found, total):  # type: ignore[no-untyped-def]
    """Fill ``found``, flat, from its begin on with differences, and ``total`` with their sums, NaN if one of them is."""
    for i in range(first, last):
        summed = 0.0
        for z in range(nz):
            for y in range(ny):
                begin, start = i * sn + z * sz + y * sy, i * rn + z * rz + y * ry
                at = (((i - first) * nz + z) * ny + y) * nx
                for x in range(nx):
                    d = np.float64(flat[np.uintp(begin + x)]) - np.float64(other[np.uintp(start + x)])
                    found[np.uintp(at + x)] = d * d
                    summed += d * d
        total[i - first] = summed


@inner_kernel
def _fill_others(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, found, total):  # type: ignore[no-untyped-def]
    """Like `_fill_squares`, for the other kinds of difference."""
    for i in range(first, last):
        summed = 0.0
        for z in range(nz):
            for y in range(ny):
                begin, start = i * sn + z * sz + y * sy, i * rn + z * rz + y * ry
                at = (((i - first) * nz + z) * ny + y) * nx
                for x in range(nx):
                    v, r = np.float64(flat[np.uintp(begin + x)]), np.float64(other[np.uintp(start + x)])
                    d = _difference(v, r, kind, floor)
                    found[np.uintp(at + x)] = d
                    summed += d
        total[i - first] = summed


@fast_kernel
def _fill(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, found, total):  # type: ignore[no-untyped-def]
    if kind is None:
        _fill_squares(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, found, total)
    else:
        _fill_others(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, found, total)


@fast_kernel
def _top_by_insertion(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, k, kind, floor, out):  # type: ignore[no-untyped-def]
    found, total = np.empty((1, nz * ny * nx)), np.empty(1)
    line = found.reshape(found.size)
    for i in range(first, last):
        if kind is None:
            _fill_squares(i, i + 1, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, line, total)
        else:
            _fill_others(i, i + 1, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, line, total)
        _best_by_insertion(found, total, k, out[i : i + 1])


@fast_kernel
def _top_abreast(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, k, kind, floor, out):  # type: ignore[no-untyped-def]
    found, total = np.empty((_ABREAST, nz * ny * nx)), np.empty(_ABREAST)
    line = found.reshape(found.size)
    for i in range(first, last, _ABREAST):
        end = min(i + _ABREAST, last)
        if kind is None:
            _fill_squares(i, end, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, line, total)
        else:
            _fill_others(i, end, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, line, total)
        _best_abreast(found[: end - i], total, k, out[i:end])


@inner_kernel
def _best_by_insertion(found, total, k, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with the mean of the ``k`` largest of each row of ``found``; NaN where ``total`` is."""
    size = found.shape[1]
    best, lanes = np.empty(k), np.empty(_LANES)
    for row in range(len(found)):
        for j in range(_LANES):
            lanes[j] = found[row, j]
        for x in range(_LANES, size - size % _LANES, _LANES):
            for j in range(_LANES):
                d = found[row, np.uintp(x + j)]
                lanes[j] = d if d > lanes[j] else lanes[j]  # noqa: FURB136 - max() is not vectorised
        # k bins are at least as large as the k-th of the lane maxima: only what is larger still need be looked at.
        least = -np.inf
        for turn in range(2):
            line = found[row] if turn else lanes
            for j in range(k):
                best[j] = least
            for x in range(0, len(line), _LANES):
                above, stop = 0, min(x + _LANES, len(line))
                for j in range(x, stop):
                    above += line[j] > best[0]
                for j in range(x, stop if above else x):
                    d = line[j]
                    if d > best[0]:
                        # It is put in its place among the best, ascending.
                        p = 1
                        while p < k and best[p] < d:
                            best[p - 1] = best[p]
                            p += 1
                        best[p - 1] = d
            least = best[0]
        mean = 0.0
        for j in range(k):
            mean += best[j]
        out[row] = np.nan if np.isnan(total[row]) else mean / k


@inner_kernel
def _best_abreast(found, total, k, out):  # type: ignore[no-untyped-def]
    """Sort the bins of many rows at once: each bin sinks through the best of its row, from the largest on."""
    n, size = found.shape
    turned = np.full(((size + 3) // 4 * 4, _ABREAST), -np.inf)
    best = np.empty((k + k % 2, _ABREAST))
    for begin in range(0, n, _ABREAST):
        here = min(_ABREAST, n - begin)
        for x in range(size):
            for r in range(here):
                turned[x, r] = found[begin + r, x]
        for level in range(len(best)):
            for r in range(_ABREAST):
                best[level, r] = -np.inf
        # Two bins and two levels at a time, so that less is loaded and stored.
        for x in range(0, len(turned), 2):
            for level in range(0, len(best), 2):
                for r in range(_ABREAST):
                    a, b, p, q = turned[x, r], turned[x + 1, r], best[level, r], best[level + 1, r]
                    a, p = (p, a) if a > p else (a, p)
                    b, p = (p, b) if b > p else (b, p)
                    a, q = (q, a) if a > q else (a, q)
                    b, q = (q, b) if b > q else (b, q)
                    turned[x, r], turned[x + 1, r], best[level, r], best[level + 1, r] = a, b, p, q
        for r in range(here):
            mean = 0.0
            for level in range(k):
                mean += best[level, r]
            out[begin + r] = np.nan if np.isnan(total[begin + r]) else mean / k

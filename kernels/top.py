"""The mean of the k largest differences of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.jit import fast_kernel, inner_kernel, kernel
from dqmroot.kernels.rows import over_rows, rows, target

__all__ = [
    "DIFFERENCES",
    "differences",
    "differences_of",
    "insertion_is_faster",
    "mean_of_best",
    "top_mean",
]

Array = NDArray[Any]

# None is known when a loop is compiled, so that the usual difference gets a loop of its own.
DIFFERENCES = {"squared": None, "chi2": 1, "deviance": 2, "pull": 3}

_LANES = 64
_BLOCK = 64
# Up to so many bins and so large a k rows are sorted side by side, so many at once.
_SHORT, _FEW, _ABREAST = 256, 16, 32
# Rows whose differences are partitioned together: they stay in the cache.
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
    n_bins = shape[1] * shape[2] * shape[3]
    if n_bins <= _SHORT and k <= _FEW:
        over_rows(_top_side_by_side, shape[0], flat.nbytes, *work, k, DIFFERENCES[kind], float(floor), out)
        return out
    if insertion_is_faster(n_bins, k):
        over_rows(_top, shape[0], flat.nbytes, *work, k, DIFFERENCES[kind], float(floor), out)
        return out
    step = max(1, _CACHED // max(n_bins, 1))

    fill: Any = _differences

    def by_partition(first: int, last: int) -> None:
        for begin in range(first, last, step):
            end = min(begin + step, last)
            found = np.empty((end - begin, *shape[1:]))
            fill(begin, end, *work, DIFFERENCES[kind], float(floor), found)
            lines = found.reshape(end - begin, n_bins)
            lines.partition(n_bins - k, axis=1)
            # A NaN is sorted to the end, and makes the mean NaN.
            np.mean(lines[:, n_bins - k :], axis=1, out=out[begin:end])

    over_rows(by_partition, shape[0], flat.nbytes)
    return out


def insertion_is_faster(n_bins: int, k: int) -> bool:
    """Whether the compiled loop finds the ``k`` largest of ``n_bins`` faster than NumPy's partition."""
    return n_bins >= 1024 and k <= _LANES


def differences(
    values: Array, reference: Array, kind: str = "squared", floor: float = 0.0, out: Array | None = None
) -> Array:
    """Difference between ``values`` and ``reference`` bin by bin, as `top_mean` has it, in float64."""
    flat, strides, shape, other, other_strides = _pair(values, reference)
    out = target(out, shape, np.float64)
    work = (flat, *strides, other, *other_strides, *shape[1:])
    over_rows(_all_differences, shape[0], flat.nbytes, *work, DIFFERENCES[kind], float(floor), out)
    return out.reshape(values.shape)


def _pair(values: Array, reference: Array) -> tuple[Any, ...]:
    flat, strides, shape = rows(values)
    shared = reference.ndim < values.ndim
    other, other_strides, _ = rows(reference[np.newaxis] if shared else reference)
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
def differences_of(source, other, kind, floor, target):  # type: ignore[no-untyped-def]
    """Fill ``target`` with the differences of two lines; return their sum, which is NaN if one of them is."""
    total = 0.0
    if kind is None:
        for x in range(len(target)):
            d = np.float64(source[x]) - np.float64(other[x])
            target[x] = d * d
            total += d * d
    else:
        for x in range(len(target)):
            d = _difference(np.float64(source[x]), np.float64(other[x]), kind, floor)
            target[x] = d
            total += d
    return total


@inner_kernel
def _lane_maxima(found, lanes):  # type: ignore[no-untyped-def]
    n = len(lanes)
    whole = len(found) // n * n
    for i in range(0, whole, n):
        part = found[i : i + n]
        for j in range(n):
            lanes[j] = part[j] if part[j] > lanes[j] else lanes[j]  # noqa: FURB136 - max() is not vectorised
    for j in range(len(found) - whole):
        lanes[j] = max(lanes[j], found[whole + j])


@kernel
def _insert(part, best):  # type: ignore[no-untyped-def]
    """Put what is larger than the least of ``best``, ascending, in its place."""
    for x in range(len(part)):
        d = part[x]
        if d > best[0]:
            j = 1
            while j < len(best) and best[j] < d:
                best[j - 1] = best[j]
                j += 1
            best[j - 1] = d


@inner_kernel
def _above(part, least):  # type: ignore[no-untyped-def]
    count = 0
    for x in range(len(part)):
        count += part[x] > least
    return count


@kernel
def mean_of_best(found, total, best):  # type: ignore[no-untyped-def]
    """Mean of the ``len(best)`` largest of ``found``, whose sum is ``total``; NaN if that is."""
    if np.isnan(total):
        return np.nan
    lanes = np.empty(_LANES)
    for x in range(_LANES):
        lanes[x] = -np.inf
    for j in range(len(best)):
        best[j] = -np.inf
    _lane_maxima(found, lanes)
    _insert(lanes, best)
    # k bins are at least as large as the k-th of the lane maxima: only what is larger still need be looked at.
    for j in range(1, len(best)):
        best[j] = best[0]
    for x in range(0, len(found), _BLOCK):
        part = found[x : min(x + _BLOCK, len(found))]
        if _above(part, best[0]) > 0:
            _insert(part, best)
    mean = 0.0
    for j in range(len(best)):
        mean += best[j]
    return mean / len(best)


@inner_kernel
def _row_differences(i, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, found):  # type: ignore[no-untyped-def]
    """Fill ``found`` with the differences of row i; return their sum."""
    total = 0.0
    for z in range(nz):
        for y in range(ny):
            begin = i * sn + z * sz + y * sy
            start = i * rn + z * rz + y * ry
            at = (z * ny + y) * nx
            line = found[at : at + nx]
            total += differences_of(flat[begin : begin + nx], other[start : start + nx], kind, floor, line)
    return total


@fast_kernel
def _top(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, k, kind, floor, out):  # type: ignore[no-untyped-def]
    found = np.empty(nz * ny * nx)
    best = np.empty(k)
    for i in range(first, last):
        total = _row_differences(i, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, found)
        out[i] = mean_of_best(found, total, best)


@inner_kernel
def _exchange(line, level):  # type: ignore[no-untyped-def]
    """Leave the larger of each pair in ``level`` and the smaller in ``line``."""
    for j in range(len(line)):
        one, other = line[j], level[j]
        level[j] = one if one > other else other  # noqa: FURB136 - max() is not vectorised
        line[j] = other if one > other else one  # noqa: FURB136


@fast_kernel
def _top_side_by_side(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, k, kind, floor, out):  # type: ignore[no-untyped-def]
    n = nz * ny * nx
    found = np.empty(n)
    turned = np.zeros((n, _ABREAST))
    best = np.empty((k, _ABREAST))
    total = np.empty(_ABREAST)
    for begin in range(first, last, _ABREAST):
        rows_here = min(_ABREAST, last - begin)
        for r in range(rows_here):
            total[r] = _row_differences(begin + r, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, found)
            for x in range(n):
                turned[x, r] = found[x]
        best[:] = -np.inf
        for x in range(n):
            # A bin sinks through the k best of its row, from the largest on.
            for level in range(k):
                _exchange(turned[x], best[level])
        for r in range(rows_here):
            mean = 0.0
            for level in range(k):
                mean += best[level, r]
            out[begin + r] = np.nan if np.isnan(total[r]) else mean / k


@fast_kernel
def _differences(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` from its first row on."""
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                begin = i * sn + z * sz + y * sy
                start = i * rn + z * rz + y * ry
                target = out[i - first, z, y]
                differences_of(flat[begin : begin + nx], other[start : start + nx], kind, floor, target)


def _all_differences(first: int, last: int, *arguments: Any) -> None:
    fill: Any = _differences
    fill(first, last, *arguments[:-1], arguments[-1][first:])

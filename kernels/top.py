"""The mean of the k largest differences of each row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.jit import bare_kernel, inner_kernel
from dqmroot.kernels.rows import lines, over_rows, target
from dqmroot.kernels.stream import PIECE, REST, fetch, gather, room, take

__all__ = ["DIFFERENCES", "differences", "top_mean"]

Array = NDArray[Any]

# None is known when a loop is compiled, so that the usual difference gets a loop of its own.
DIFFERENCES = {"squared": None, "chi2": 1, "deviance": 2, "pull": 3}

# From so many bins on, and up to so large a k, an insertion is faster than a partition.
_LONG, _MOST = 512, 64
# Bins of which the largest is found first.
_CHUNK = 32
# Up to so many bins and so large a k rows are sorted side by side, so many at once.
_SHORT, _FEW, _ABREAST = 256, 16, 32
# Bins whose differences are worked on together: they stay in the cache.
_CACHED, _CACHED_LINE = 1 << 15, 1 << 10


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
    n, n_bins = shape[0], math.prod(shape[1:])
    out = np.empty(n)
    work = (flat, *strides, other, *other_strides, *shape[1:])
    if n_bins <= _SHORT and k <= _FEW:
        how: tuple[Any, ...] = (k, DIFFERENCES[kind], float(floor), out)
        over_rows(_top_abreast, n, flat.nbytes, *work, *how, own=lambda _: _abreast_memory(n_bins, k))
    elif n_bins >= _LONG and k <= _MOST:
        how = (k, DIFFERENCES[kind], float(floor), out)
        over_rows(_top_by_insertion, n, flat.nbytes, *work, *how, own=lambda _: _insertion_memory(n_bins, k))
    else:
        over_rows(_top_by_partition, n, flat.nbytes, work, n_bins, k, DIFFERENCES[kind], float(floor), out)
    return out


def _abreast_memory(n_bins: int, k: int) -> tuple[Array, ...]:
    turned = np.empty(((n_bins + 3) // 4 * 4, _ABREAST))
    return np.empty(_ABREAST * n_bins), np.empty(_ABREAST), turned, np.empty((k + k % 2, _ABREAST))


def _insertion_memory(n_bins: int, k: int) -> tuple[Array, ...]:
    """Differences, the same as whole numbers, the largest of each chunk, and the best of all in both forms."""
    found, best = np.empty(n_bins), np.empty(k)
    return found, found.view(np.int64), np.empty(-(-n_bins // _CHUNK), np.int64), best, best.view(np.int64)


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
    result = made.reshape(-1)
    work = (flat, *strides, other, *other_strides, *shape[1:], DIFFERENCES[kind], float(floor), result)
    over_rows(
        _differences, shape[0], flat.nbytes, *work, own=lambda first: gather(result, first * math.prod(shape[1:]))
    )
    return made.reshape(values.shape)


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
def _fill_line(flat, begin, other, start, size, kind, floor, found, at):  # type: ignore[no-untyped-def]
    """Fill ``found`` from ``at`` on with ``size`` differences; returns their sum, NaN if one of them is."""
    summed = 0.0
    fetch(flat, begin, begin + size)
    if kind is None:
        for x in range(size):
            d = take(flat, begin + x) - take(other, start + x)
            found[np.uintp(at + x)] = d * d
            summed += d * d
    else:
        for x in range(size):
            v, r = take(flat, begin + x), take(other, start + x)
            d = _difference(v, r, kind, floor)
            found[np.uintp(at + x)] = d
            summed += d
    return summed


@bare_kernel
def _differences(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, out, line, mark):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                for p in range(0, nx, PIECE):
                    begin, start = i * sn + z * sz + y * sy + p, i * rn + z * rz + y * ry + p
                    size = min(PIECE, nx - p)
                    at = room(out, line, mark, size)
                    _fill_line(flat, begin, other, start, size, kind, floor, line, at)
    room(out, line, mark, REST)


@bare_kernel
def _fill(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, kind, floor, found, total):  # type: ignore[no-untyped-def]
    """Fill ``found``, flat, from its begin on with differences, and ``total`` with their sums, NaN if one of them is."""
    for i in range(first, last):
        summed = 0.0
        for z in range(nz):
            for y in range(ny):
                begin, start = i * sn + z * sz + y * sy, i * rn + z * rz + y * ry
                at = (((i - first) * nz + z) * ny + y) * nx
                summed += _fill_line(flat, begin, other, start, nx, kind, floor, found, at)
        total[i - first] = summed


@bare_kernel
def _top_by_insertion(  # type: ignore[no-untyped-def]
    first,
    last,
    flat,
    sn,
    sz,
    sy,
    other,
    rn,
    rz,
    ry,
    nz,
    ny,
    nx,
    k,
    kind,
    floor,
    out,
    found,
    bits,
    high,
    best,
    keys,
):
    for i in range(first, last):
        summed, at, chunk = 0.0, 0, 0
        for z in range(nz):
            for y in range(ny):
                for p in range(0, nx, _CACHED_LINE):
                    begin, start = i * sn + z * sz + y * sy + p, i * rn + z * rz + y * ry + p
                    size = min(_CACHED_LINE, nx - p)
                    summed += _fill_line(flat, begin, other, start, size, kind, floor, found, at)
                    at += size
                    # Differences are not negative: they have the order of whole numbers, whose maximum is vectorised.
                    while chunk < len(high) and (chunk * _CHUNK + _CHUNK <= at or at == len(found)):
                        top = np.int64(0)
                        for x in range(chunk * _CHUNK, min(chunk * _CHUNK + _CHUNK, at)):
                            top = max(top, bits[np.uintp(x)])
                        high[chunk] = top
                        chunk += 1
        if np.isnan(summed):
            out[i] = np.nan
            continue
        # k bins are at least as large as the k-th of the largest of each chunk: only what is larger still need be looked at.
        least = np.int64(-1)
        if k <= len(high):
            for j in range(k):
                keys[j] = least
            _insert(high, 0, len(high), k, keys)
            least = keys[0]
        for j in range(k):
            keys[j] = least
        for c in range(len(high)):
            if high[c] > keys[0]:
                _insert(bits, c * _CHUNK, min(c * _CHUNK + _CHUNK, len(bits)), k, keys)
        mean = 0.0
        for j in range(k):
            mean += best[j]
        out[i] = mean / k


@inner_kernel
def _insert(numbers, begin, end, k, keys):  # type: ignore[no-untyped-def]
    """Put numbers that are larger than the least of ``keys``, ascending, in their place."""
    for x in range(begin, end):
        d = numbers[np.uintp(x)]
        if d > keys[0]:
            p = 1
            while p < k and keys[p] < d:
                keys[p - 1] = keys[p]
                p += 1
            keys[p - 1] = d


@bare_kernel
def _top_abreast(  # type: ignore[no-untyped-def]
    first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, k, kind, floor, out, found, total, turned, best
):
    size = nz * ny * nx
    for i in range(first, last, _ABREAST):
        here = min(_ABREAST, last - i)
        for r in range(here):
            summed = 0.0
            for z in range(nz):
                for y in range(ny):
                    begin, start = (i + r) * sn + z * sz + y * sy, (i + r) * rn + z * rz + y * ry
                    at = ((r * nz + z) * ny + y) * nx
                    summed += _fill_line(flat, begin, other, start, nx, kind, floor, found, at)
            total[r] = summed
        _best_abreast(found, here, size, total, k, turned, best, out, i)


@inner_kernel
def _best_abreast(found, here, size, total, k, turned, best, out, first):  # type: ignore[no-untyped-def]
    """Sort the bins of many rows at once: each bin sinks through the best of its row, from the largest on."""
    for x in range(size, len(turned)):
        for r in range(_ABREAST):
            turned[x, r] = -np.inf
    for r in range(here):
        for x in range(size):
            turned[x, r] = found[np.uintp(r * size + x)]
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
        out[first + r] = np.nan if np.isnan(total[r]) else mean / k

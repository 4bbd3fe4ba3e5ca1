"""The mean of the k largest differences of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.jit import fast_kernel
from dqmroot.kernels.rows import over_rows, rows

__all__ = ["DIFFERENCES", "top_mean"]

Array = NDArray[Any]

DIFFERENCES = {"squared": 0, "chi2": 1, "deviance": 2, "pull": 3}

# Above this many the k largest are found by partition, below by insertion.
_MANY = 64
_BLOCK = 32


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
    flat, strides, shape = rows(values)
    shared = reference.ndim < values.ndim
    other, other_strides, _ = rows(reference[np.newaxis] if shared else reference)
    if shared:
        other_strides = (0, *other_strides[1:])
    out = np.empty(shape[0])
    over_rows(
        _top_many if k > _MANY else _top_few,
        shape[0],
        flat.nbytes,
        flat,
        *strides,
        other,
        *other_strides,
        *shape[1:],
        k,
        DIFFERENCES[kind],
        float(floor),
        out,
    )
    return out


@fast_kernel
def _difference(v, r, kind, floor):  # type: ignore[no-untyped-def]
    if kind == 0:
        return (v - r) * (v - r)
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


@fast_kernel
def _fill(source, other, kind, floor, target):  # type: ignore[no-untyped-def]
    if kind == 0:
        for x in range(len(source)):
            d = np.float64(source[x]) - np.float64(other[x])
            target[x] = d * d
    else:
        for x in range(len(source)):
            target[x] = _difference(np.float64(source[x]), np.float64(other[x]), kind, floor)


@fast_kernel
def _insert(block, best):  # type: ignore[no-untyped-def]
    """Put what is larger than the least of ``best``, ascending, in its place; count NaN."""
    bad = 0
    for x in range(len(block)):
        d = block[x]
        if np.isnan(d):
            bad += 1
        elif d > best[0]:
            j = 1
            while j < len(best) and best[j] < d:
                best[j - 1] = best[j]
                j += 1
            best[j - 1] = d
    return bad


@fast_kernel
def _any_above(block, least):  # type: ignore[no-untyped-def]
    count = 0
    for x in range(len(block)):
        # Not "above": a NaN must be seen too.
        count += not (block[x] <= least)
    return count


@fast_kernel
def _top_few(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, k, kind, floor, out):  # type: ignore[no-untyped-def]
    best = np.empty(k)
    block = np.empty(nx)
    for i in range(first, last):
        best[:] = -np.inf
        bad = 0
        for z in range(nz):
            for y in range(ny):
                begin = i * sn + z * sz + y * sy
                start = i * rn + z * rz + y * ry
                _fill(flat[begin : begin + nx], other[start : start + nx], kind, floor, block)
                for x in range(0, nx, _BLOCK):
                    part = block[x : min(x + _BLOCK, nx)]
                    if _any_above(part, best[0]) > 0:
                        bad += _insert(part, best)
        out[i] = np.nan if bad > 0 else best.mean()


@fast_kernel
def _top_many(first, last, flat, sn, sz, sy, other, rn, rz, ry, nz, ny, nx, k, kind, floor, out):  # type: ignore[no-untyped-def]
    line = np.empty(nz * ny * nx)
    for i in range(first, last):
        at = 0
        for z in range(nz):
            for y in range(ny):
                begin = i * sn + z * sz + y * sy
                start = i * rn + z * rz + y * ry
                _fill(flat[begin : begin + nx], other[start : start + nx], kind, floor, line[at : at + nx])
                at += nx
        if np.isnan(line).any():
            out[i] = np.nan
        else:
            out[i] = np.partition(line, len(line) - k)[len(line) - k :].mean()

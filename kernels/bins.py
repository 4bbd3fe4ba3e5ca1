"""Sums over neighbouring bins: rebinning, cropping, merging, with one loop for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import fast_kernel, inner_kernel
from dqmroot.kernels.rows import over_rows, rows, target

__all__ = ["group_line", "merge", "sum_lines"]

Array = NDArray[Any]


def merge(values: Array, starts: Sequence[Array], dtype: DTypeLike | None = None, out: Array | None = None) -> Array:
    """Sum groups of neighbouring bins along every axis.

    Args:
        values: ``(n, [z,] [y,] x)``.
        starts: One int64 array per axis of bins, in the order of the array: new bin j is the sum of the old bins
            ``starts[j]`` to ``starts[j + 1]`` (exclusive).
        dtype: Type of the result; by default that of ``values``.
        out: Memory for the result; new memory by default.

    Returns:
        ``(n, [len(z) - 1,] [len(y) - 1,] len(x) - 1)``, summed in float64.
    """
    flat, strides, shape = rows(values)
    cuts = [np.asarray(s, np.int64) for s in starts]
    cuts = [np.array([0, 1])] * (3 - len(cuts)) + cuts
    out = target(out, (shape[0], *(len(c) - 1 for c in cuts)), values.dtype if dtype is None else dtype)
    over_rows(_merge, shape[0], flat.nbytes, flat, *strides, *cuts, *_even(cuts[2]), out)
    return out.reshape(shape[:1] + out.shape[4 - values.ndim + 1 :])


def _even(cuts: Array) -> tuple[int, int, int]:
    """First and last group (exclusive) of those, but for the two at the ends, that are all of one size, and that size."""
    sizes = np.diff(cuts)
    for first, last in ((0, len(sizes)), (1, len(sizes) - 1)):
        if last > first and sizes[first] > 0 and (sizes[first:last] == sizes[first]).all():
            return first, last, int(sizes[first])
    return 0, 0, 1


@inner_kernel
def _start(source, line):  # type: ignore[no-untyped-def]
    for x in range(len(line)):
        line[x] = source[x]


@inner_kernel
def _accumulate(source, line):  # type: ignore[no-untyped-def]
    for x in range(len(line)):
        line[x] += source[x]


@inner_kernel
def sum_lines(flat, start, sz, sy, nz, ny, line):  # type: ignore[no-untyped-def]
    """Sum ``nz`` × ``ny`` lines of ``flat``, the first of which begins at ``start``, into ``line``."""
    nx = len(line)
    _start(flat[start : start + nx], line)
    for z in range(nz):
        for y in range(ny):
            if z + y > 0:
                begin = start + z * sz + y * sy
                _accumulate(flat[begin : begin + nx], line)


@inner_kernel
def group_line(line, factor, target):  # type: ignore[no-untyped-def]
    """Sum ``factor`` neighbours of ``line`` into each of ``target``."""
    if factor == 1:
        for x in range(len(target)):
            target[x] = line[x]
    elif factor == 2:
        for x in range(len(target)):
            # Unsigned: a signed index that may be negative is not vectorised.
            target[x] = np.float64(line[np.uintp(2 * x)]) + np.float64(line[np.uintp(2 * x + 1)])
    else:
        for x in range(len(target)):
            total = 0.0
            for a in range(x * factor, (x + 1) * factor):
                total += line[np.uintp(a)]
            target[x] = total


@inner_kernel
def _group_unevenly(line, xs, first, last, target):  # type: ignore[no-untyped-def]
    for a in range(first, last):
        total = 0.0
        for x in range(xs[a], xs[a + 1]):
            total += line[np.uintp(x)]
        target[a] = total


@inner_kernel
def _merge_line(line, xs, low, high, factor, target):  # type: ignore[no-untyped-def]
    _group_unevenly(line, xs, 0, low, target)
    if high > low:
        group_line(line[xs[low] : xs[high]], factor, target[low:high])
    _group_unevenly(line, xs, high, len(target), target)


@fast_kernel
def _merge(first, last, flat, sn, sz, sy, zs, ys, xs, low, high, factor, out):  # type: ignore[no-untyped-def]
    line = np.empty(xs[-1])
    nx = len(line)
    for i in range(first, last):
        for c in range(len(zs) - 1):
            nz = zs[c + 1] - zs[c]
            for b in range(len(ys) - 1):
                ny = ys[b + 1] - ys[b]
                start = i * sn + zs[c] * sz + ys[b] * sy
                if nz * ny == 0:
                    out[i, c, b] = 0
                elif nz * ny == 1:
                    _merge_line(flat[start : start + nx], xs, low, high, factor, out[i, c, b])
                else:
                    sum_lines(flat, start, sz, sy, nz, ny, line)
                    _merge_line(line, xs, low, high, factor, out[i, c, b])

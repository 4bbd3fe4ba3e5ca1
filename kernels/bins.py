"""Sums over neighbouring bins: rebinning, cropping, merging, with one loop for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import bare_kernel, inner_kernel
from dqmroot.kernels.rows import over_rows, rows, target
from dqmroot.kernels.stream import LARGE, begin_at, close_line, fetch, gather, room

__all__ = ["copy_or_pair", "even_groups", "group_bins", "merge"]

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
    if any((np.diff(cut) < 1).any() for cut in cuts):
        raise ValueError(f"groups of bins must not be empty; got {cuts}")
    cuts = [np.array([0, 1])] * (3 - len(cuts)) + cuts
    size = tuple(len(cut) - 1 for cut in cuts)
    made = target(out, (shape[0], *size), values.dtype if dtype is None else dtype)
    result, even = made.reshape(-1), even_groups(cuts[2])
    alone = all(cut[-1] - cut[0] == len(cut) - 1 for cut in cuts[:2]) and even[1] - even[0] == size[2]
    if alone and made.nbytes < LARGE and (even[2] == 1 or made.dtype.kind == "f"):
        region = [slice(cut[0], cut[-1]) for cut in cuts[4 - values.ndim :]]
        made = made.reshape(shape[:1] + size[4 - values.ndim :])
        over_rows(copy_or_pair, shape[0], made.nbytes // 4, values[(slice(None), *region)], int(even[2]), made, row=0)
        return made
    work = (flat, *strides, *cuts, even, result)
    own = lambda: (np.empty(cuts[2][-1] - cuts[2][0]), *gather(result, size[2]))  # noqa: E731
    over_rows(_merge, shape[0], flat.nbytes, *work, own=own)
    return made.reshape(shape[:1] + size[4 - values.ndim :])


def copy_or_pair(first: int, last: int, values: Array, factor: int, out: Array) -> None:
    """Copy, or add pairs along x, in which NumPy is the fastest; one rounding is the same from float32 as from float64."""
    part = values[first:last]
    if factor == 1:
        np.copyto(out[first:last], part, casting="unsafe")
        return
    with np.errstate(over="ignore", invalid="ignore"):
        np.add(part[..., ::2], part[..., 1::2], out=out[first:last], dtype=out.dtype)


def even_groups(cuts: Array) -> NDArray[np.int64]:
    """First and last group (exclusive) of those, but for the two at the ends, that are all of one bin or all of two, and which."""
    sizes = np.diff(cuts)
    for first, last in ((0, len(sizes)), (1, len(sizes) - 1)):
        if last > first and sizes[first] in {1, 2} and (sizes[first:last] == sizes[first]).all():
            return np.array([first, last, sizes[first]])
    return np.array([0, 0, 1])


@bare_kernel
def _merge(first, last, flat, sn, sz, sy, zs, ys, xs, even, out, summed, line, mark):  # type: ignore[no-untyped-def]
    begin_at(out, mark, first * (len(zs) - 1) * (len(ys) - 1) * (len(xs) - 1))
    group_bins(first, last, flat, sn, sz, sy, zs, ys, xs, even, out, summed, line, mark)
    close_line(out, line, mark)


@inner_kernel
def group_bins(first, last, flat, sn, sz, sy, zs, ys, xs, even, out, summed, line, mark):  # type: ignore[no-untyped-def]
    """Sum groups of bins as `merge` has it, and write them by way of ``line`` and ``mark``.

    ``even`` is what `even_groups` found, ``summed`` float64 memory for a line of bins.
    """
    # Indices are unsigned: a signed one that may be negative is not vectorised, and a slice counts its references.
    # What is the same for all rows is read anew for each line: the compiler would make one loop for each case.
    nz, ny, nx = len(zs) - 1, len(ys) - 1, len(xs) - 1
    length = xs[nx] - xs[0]
    for i in range(first, last):
        for c in range(nz):
            for b in range(ny):
                high = ys[b + 1] - ys[b]
                lines = (zs[c + 1] - zs[c]) * high
                start = i * sn + zs[c] * sz + ys[b] * sy + xs[0]
                fetch(flat, start, start + length)
                if lines == 1 and even[2] == 2 and even[1] - even[0] == nx:
                    at = room(out, line, mark, nx)
                    for a in range(nx):
                        line[np.uintp(at + a)] = np.float64(flat[np.uintp(start + 2 * a)]) + np.float64(
                            flat[np.uintp(start + 2 * a + 1)]
                        )
                    continue
                if lines == 1:
                    for x in range(length):
                        summed[np.uintp(x)] = flat[np.uintp(start + x)]
                else:
                    other = start + (sy if high > 1 else sz)
                    fetch(flat, other, other + length)
                    for x in range(length):
                        summed[np.uintp(x)] = np.float64(flat[np.uintp(start + x)]) + np.float64(
                            flat[np.uintp(other + x)]
                        )
                for j in range(2, lines):
                    other = start + j // high * sz + j % high * sy
                    fetch(flat, other, other + length)
                    for x in range(length):
                        summed[np.uintp(x)] += flat[np.uintp(other + x)]
                at = room(out, line, mark, nx)
                low, high, factor = even[0], even[1], even[2]
                for e in range(low + nx - high):
                    a = e if e < low else high + e - low
                    total = 0.0
                    for x in range(xs[a] - xs[0], xs[a + 1] - xs[0]):
                        total += summed[np.uintp(x)]
                    line[np.uintp(at + a)] = total
                begin, at = xs[low] - xs[0], at + low
                if factor == 1:
                    for a in range(high - low):
                        line[np.uintp(at + a)] = summed[np.uintp(begin + a)]
                else:
                    for a in range(high - low):
                        line[np.uintp(at + a)] = summed[np.uintp(begin + 2 * a)] + summed[np.uintp(begin + 2 * a + 1)]

"""Sums over neighbouring bins: rebinning, cropping, merging."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import bare_steady, inner_kernel
from dqmroot.kernels.lanes import add_line, fold_line, fold_lines, put_line, sum_line, sum_lines
from dqmroot.kernels.rows import is_short, over_rows, rows, target
from dqmroot.kernels.scale import Region, scale_rows
from dqmroot.kernels.stream import LARGE, PIECE, REST, fetch, gather, put, room

__all__ = ["Groups", "blocks_of", "groups_of", "merge"]

Array = NDArray[Any]

# Rows of fewer pairs, which do not lie one behind the other, NumPy adds faster.
_SHORT = 16
# Fewer bins one thread copies in less time than it takes to ask for more.
_ALONE = 1 << 17
# Bins of short lines that are copied together.
_TOGETHER = 1024


class Groups(NamedTuple):
    """Groups of neighbouring bins along three axes, as `merge` needs them.

    Args:
        cuts: Where the groups begin, and where the last one ends.
        size: How many there are along each axis that the array has.
        even: First and last group (exclusive) along x of those, but for the two at the ends, that are all of one bin or all
            of two, and which.
        box: The bins, where they are all copied or all added in pairs along x, in which NumPy is the fastest.
        pairs: Whether these are pairs.
    """

    cuts: tuple[Array, Array, Array]
    size: tuple[int, ...]
    even: Array
    box: tuple[slice, ...] | None
    pairs: bool


def groups_of(starts: Sequence[Array]) -> Groups:
    """Describe groups, given as `merge` has them, once for many calls."""
    cuts = [np.asarray(start, np.int64) for start in starts]
    sizes = [cut[1:] - cut[:-1] for cut in cuts]
    if any(len(size) and size.min() < 1 for size in sizes):
        raise ValueError(f"groups of bins must not be empty; got {cuts}")
    even = _even_groups(sizes[-1])
    size = tuple(map(len, sizes))
    box = None
    if even[1] - even[0] == size[-1] and all(cut[-1] - cut[0] == len(cut) - 1 for cut in cuts[:-1]):
        box = (slice(None), *(slice(int(cut[0]), int(cut[-1])) for cut in cuts))
    first, second, third = [np.array([0, 1])] * (3 - len(cuts)) + cuts
    return Groups((first, second, third), size, even, box, bool(even[2] == 2))


@lru_cache(maxsize=256)
def blocks_of(region: Region, factors: tuple[int, ...]) -> Groups:
    """Describe a region that is cut out, and divided into blocks.

    Args:
        region: First and last bin (exclusive) per axis of bins, in the order of the array.
        factors: Bins of a block along each axis, which divide the region.
    """
    return groups_of([np.arange(a, b + 1, factor) for (a, b), factor in zip(region, factors, strict=True)])


def merge(
    values: Array, starts: Sequence[Array] | Groups, dtype: DTypeLike | None = None, out: Array | None = None
) -> Array:
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
    groups = starts if isinstance(starts, Groups) else groups_of(starts)
    dtype, box = values.dtype if dtype is None else dtype, groups.box
    if box is not None and not groups.pairs:
        part = values[box]
        return part.astype(dtype, "C") if out is None and part.size < _ALONE else _copied(part, dtype, out)
    shape = (len(values), *groups.size)
    made = np.empty(shape, dtype) if out is None else target(out, shape, dtype)
    if box is not None and made.dtype.kind == "f":
        part = values[box]
        if is_short(part):
            _add_short(part.ravel(), made.ravel())
        else:
            _add_pairs(part, made)
    elif made.size and is_short(values):
        *_, z, y, x = 1, 1, *values.shape[1:]
        _merge_short(values.ravel(), z * y * x, y * x, x, *groups.cuts, groups.even, np.empty(x), made.ravel())
    else:
        _merge_lines(values, groups, made)
    return made


def _copied(part: Array, dtype: DTypeLike, out: Array | None) -> Array:
    made = target(out, part.shape, dtype)
    if made.nbytes >= LARGE:
        return _copy_large(part, made)
    over_rows(_copy, len(made), made.nbytes // 4, (part, made), row=0)
    return made


def _merge_lines(values: Array, groups: Groups, made: Array) -> None:
    """Add lines, one after the other, and groups of the bins of their sum."""
    flat, strides, shape = rows(values)
    result, line, width = made.reshape(-1), groups.size[-1], math.prod(groups.size)

    def own(first: int) -> tuple[Array, ...]:
        return np.empty(shape[-1]), *gather(result, first * width, line)

    over_rows(_merge, len(made), flat.nbytes, (flat, *strides, *groups.cuts, groups.even, result), own)


def _copy(first: int, last: int, values: Array, out: Array) -> None:
    np.copyto(out[first:last], values[first:last], casting="unsafe")


def _copy_large(values: Array, made: Array) -> Array:
    """Copy past the caches."""
    flat, (sn, sz, sy), (n, nz, ny, nx) = rows(values)
    line = sy if ny > 1 else sz if nz > 1 else sn
    if nx > _TOGETHER // 2 or sz != ny * line * (nz > 1) or sn != nz * ny * line * (n > 1):
        return scale_rows(values, np.broadcast_to(1.0, n), made.dtype, made)
    # Lines all lie equally far apart, as those of rows do.
    result = made.reshape(-1)
    work = flat, line, nx, result
    over_rows(_copy_lines, n * nz * ny, made.nbytes, work, lambda first: gather(result, first * nx))
    return made


def _add_pairs(values: Array, made: Array) -> None:
    """Add pairs along x."""
    n, size, result = len(made), made.shape[-1], made.reshape(-1)
    flat, strides, (_, nz, ny, _) = rows(values)
    if values.flags.c_contiguous:
        # All of it is one line, shared out in pieces.
        n, size, strides, nz, ny = -(-made.size // PIECE), PIECE, (2 * PIECE, 0, 0), 1, 1
    elif size < _SHORT:
        over_rows(_add_narrow, n, flat.nbytes, (values, made), row=0)
        return
    work = flat, *strides, nz, ny, size, result
    over_rows(_fold, n, flat.nbytes, work, lambda first: gather(result, first * nz * ny * size, size))


def _add_narrow(first: int, last: int, values: Array, out: Array) -> None:
    """Add pairs by NumPy; one rounding is the same from float32 as from float64."""
    part = values[first:last]
    with np.errstate(over="ignore", invalid="ignore"):
        np.add(part[..., ::2], part[..., 1::2], out=out[first:last], dtype=out.dtype)


def _even_groups(sizes: Array) -> Array:
    for first, last in ((0, len(sizes)), (1, len(sizes) - 1)):
        if last > first and sizes[first] in {1, 2} and (sizes[first:last] == sizes[first]).all():
            return np.array([first, last, sizes[first]])
    return np.array([0, 0, 1])


# What is the same for all rows is read anew for each line: the compiler would make one loop for each case.


@inner_kernel
def _sum_groups(flat, start, sz, sy, wide, lines, xs, even, summed, to, at):  # type: ignore[no-untyped-def]
    """Sum ``lines`` lines from ``start`` on, ``wide`` of them in a plane, and groups of bins of their sum to ``to[at]``."""
    nx = len(xs) - 1
    length, low, high = xs[nx] - xs[0], even[0], even[1]
    other = start + (sy if wide > 1 else sz)
    fetch(flat, start, start + length)
    if lines > 1:
        fetch(flat, other, other + length)
    if lines == 2 and even[2] == 2 and high - low == nx:
        fold_lines(to, at, flat, start, flat, other, nx)
    else:
        if lines > 1:
            sum_lines(summed, 0, flat, start, flat, other, length)
        else:
            put_line(summed, 0, flat, start, length)
        for j in range(2, lines):
            other = start + j // wide * sz + j % wide * sy
            fetch(flat, other, other + length)
            add_line(summed, 0, flat, other, length)
        for e in range(low + nx - high):
            a = e if e < low else high + e - low
            put(to, at + a, sum_line(summed, xs[a] - xs[0], xs[a + 1] - xs[a])[0])
        if even[2] == 1:
            put_line(to, at + low, summed, xs[low] - xs[0], high - low)
        else:
            fold_line(to, at + low, summed, xs[low] - xs[0], high - low)


@bare_steady
def _merge(first, last, flat, sn, sz, sy, zs, ys, xs, even, out, summed, line, mark):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for c in range(len(zs) - 1):
            for b in range(len(ys) - 1):
                wide = ys[b + 1] - ys[b]
                start, lines = i * sn + zs[c] * sz + ys[b] * sy + xs[0], (zs[c + 1] - zs[c]) * wide
                at = room(out, line, mark, len(xs) - 1)
                _sum_groups(flat, start, sz, sy, wide, lines, xs, even, summed, line, at)
    room(out, line, mark, REST)


@bare_steady
def _merge_short(flat, sn, sz, sy, zs, ys, xs, even, summed, out):  # type: ignore[no-untyped-def]
    at = 0
    for i in range(len(flat) // sn):
        for c in range(len(zs) - 1):
            for b in range(len(ys) - 1):
                wide = ys[b + 1] - ys[b]
                start, lines = i * sn + zs[c] * sz + ys[b] * sy + xs[0], (zs[c + 1] - zs[c]) * wide
                _sum_groups(flat, start, sz, sy, wide, lines, xs, even, summed, out, at)
                at += len(xs) - 1


@bare_steady
def _copy_lines(first, last, flat, apart, nx, out, line, mark):  # type: ignore[no-untyped-def]
    # Some at a time: to find room for one takes longer than to copy it. What lies between them comes with them.
    step = _TOGETHER // max(nx, 1)
    for block in range(first, last, step):
        end = min(block + step, last)
        at = room(out, line, mark, (end - block) * nx)
        for i in range(block, end):
            fetch(flat, i * apart, i * apart + min(apart, 2 * nx))
            put_line(line, at, flat, i * apart, nx)
            at += nx
    room(out, line, mark, REST)


@bare_steady
def _add_short(flat, out):  # type: ignore[no-untyped-def]
    fold_line(out, 0, flat, 0, len(out))


@bare_steady
def _fold(first, last, flat, sn, sz, sy, nz, ny, nx, out, line, mark):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                start, size = i * sn + z * sz + y * sy, min(nx, len(out) - i * nx)
                fetch(flat, start, start + 2 * size)
                fold_line(line, room(out, line, mark, size), flat, start, size)
    room(out, line, mark, REST)

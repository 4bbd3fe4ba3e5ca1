"""Crop, rebin, normalise and score in one pass over the contents."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.bins import copy_or_pair, even_groups, group_bins
from dqmroot.kernels.jit import bare_kernel
from dqmroot.kernels.rows import over_rows, rows, target
from dqmroot.kernels.scale import CACHED, MAXIMUM, Region, cell_of, normalise_rows, scale_rows
from dqmroot.kernels.stream import LARGE, begin_at, close_line, gather
from dqmroot.kernels.top import top_mean

__all__ = ["kept", "prepare", "score"]

Array = NDArray[Any]

# Bins that are prepared before they are compared.
_CACHED = 1 << 21


def prepare(
    values: Array, region: Region, factors: tuple[int, ...], mode: str = "", out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Cut out a region, sum groups of bins, and normalise.

    Args:
        values: ``(n, [z,] [y,] x)``.
        region: First and last bin (exclusive) per axis of bins, in the order of the array.
        factors: Bins per group and axis, which divide the region.
        mode: ``"integral"``, ``"maximum"`` or ``""`` for neither, as `dqmroot.kernels.scale.normalise`.
        out: Memory for the result; new memory by default.

    Returns:
        ``(n, …)`` float32 for float32, else float64; ``(n,)`` divisors (1 without a mode) and
        ``(n,)`` the number of negative results before the division.
    """
    n, (cuts, even) = len(values), _cuts(region, factors)
    size = tuple(len(cut) - 1 for cut in cuts)
    made = target(out, (n, *size), kept(values))
    result = made.reshape((n, *size[4 - values.ndim :]))
    if mode:
        divisor, negative = np.empty(n), np.empty(n, np.int64)
    else:
        divisor, negative = np.broadcast_to(1.0, n), np.broadcast_to(np.int64(0), n)
    if not mode and math.prod(factors[:-1]) == 1 and factors[-1] < 3:
        cut = values[(slice(None), *(slice(*pair) for pair in region))]
        if made.nbytes < LARGE:
            over_rows(copy_or_pair, n, made.nbytes // 4, cut, factors[-1], result, row=0)
            return result, divisor, negative
        if factors[-1] == 1:
            return scale_rows(cut, divisor, result.dtype, result), divisor, negative
    flat, strides, _ = rows(values)
    to = made.reshape(-1)
    step = max(1, CACHED // max(math.prod(size), 1)) if mode else 0

    def own() -> tuple[Array, ...]:
        block = np.empty(step * math.prod(size))
        memory = (block, block.view(np.int64), np.zeros(5, np.int64), *cell_of(block))
        return np.empty(cuts[2][-1] - cuts[2][0]), *memory, *gather(to, size[2])

    normalisation = (MAXIMUM[mode], divisor, negative) if mode else (None, None, None)
    over_rows(_prepare, n, flat.nbytes, flat, *strides, *cuts, even, step, *normalisation, to, own=own)
    return result, divisor, negative


def score(
    values: Array, region: Region, factors: tuple[int, ...], mode: str, reference: Array, k: int, kind: str = "squared"
) -> tuple[Array, Array]:
    """Prepare like `prepare`, and compare with a reference without storing what was prepared.

    Args:
        values: ``(n, [z,] [y,] x)``.
        region: As `prepare` has it.
        factors: As `prepare` has it.
        mode: As `prepare` has it.
        reference: ``([z,] [y,] x)``, prepared.
        k: How many of the largest differences are averaged.
        kind: As `dqmroot.kernels.top.top_mean` has it.

    Returns:
        ``(n,)`` float64 scores and ``(n,)`` the number of negative prepared contents.
    """
    n, size = len(values), tuple((high - low) // by for (low, high), by in zip(region, factors, strict=True))
    step = max(1, min(n, _CACHED // max(math.prod(size), 1)))
    # The same memory again and again, little enough that it lies in the cache when it is compared.
    memory = np.empty((step, *size), kept(values))
    out, negative = np.empty(n), np.empty(n, np.int64)
    for begin in range(0, n, step):
        end = min(begin + step, n)
        prepared, _, negative[begin:end] = prepare(values[begin:end], region, factors, mode, memory[: end - begin])
        out[begin:end] = top_mean(prepared, reference, k, kind)
    return out, negative


def kept(values: Array) -> type[np.floating[Any]]:
    """Type of what `prepare` makes of ``values``."""
    return np.float32 if values.dtype == np.float32 else np.float64


@lru_cache(maxsize=256)
def _cuts(region: Region, factors: tuple[int, ...]) -> tuple[tuple[Array, ...], Array]:
    """Where the groups begin and end, along three axes, and what `even_groups` finds along x."""
    inside = ((0, 1),) * (3 - len(region)) + tuple(region)
    by = (1,) * (3 - len(factors)) + tuple(factors)
    cuts = tuple(np.arange(low, high + 1, factor) for (low, high), factor in zip(inside, by, strict=True))
    return cuts, even_groups(cuts[2])


@bare_kernel
def _prepare(  # type: ignore[no-untyped-def]
    first,
    last,
    flat,
    sn,
    sz,
    sy,
    zs,
    ys,
    xs,
    even,
    step,
    maximum,
    divisor,
    negative,
    out,
    summed,
    block,
    signs,
    place,
    factor,
    cell,
    value,
    line,
    mark,
):
    size = (len(zs) - 1) * (len(ys) - 1) * (len(xs) - 1)
    begin_at(out, mark, first * size)
    if divisor is None:
        group_bins(first, last, flat, sn, sz, sy, zs, ys, xs, even, out, summed, line, mark)
    else:
        # Few rows at a time, so that they are still in the cache when they are divided.
        for begin in range(first, last, step):
            end = min(begin + step, last)
            place[2], place[3] = 0, len(block)
            group_bins(begin, end, flat, sn, sz, sy, zs, ys, xs, even, block, summed, block, place)
            normalise_rows(
                begin,
                end,
                block,
                signs,
                begin,
                size,
                maximum,
                divisor,
                negative,
                out,
                factor,
                cell,
                value,
                line,
                mark,
            )
    close_line(out, line, mark)

"""Crop, rebin, normalise and score in one pass over the contents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.bins import even_groups, group_bins
from dqmroot.kernels.jit import fast_kernel
from dqmroot.kernels.rows import over_rows, rows, target
from dqmroot.kernels.scale import CACHED, MAXIMUM, Region, find_maxima, find_sums, invert_divisors, multiply
from dqmroot.kernels.top import top_mean

__all__ = ["prepare", "score"]

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
    n, cuts = len(values), _cuts(region, factors)
    size = tuple(len(cut) - 1 for cut in cuts)
    divisor, negative = np.ones(n), np.zeros(n, np.int64)
    made = target(out, (n, *size), _kept(values))
    result = made.reshape((n, *size[4 - values.ndim :]))
    if not mode and math.prod(factors[:-1]) == 1 and factors[-1] < 3:
        cut = values[(slice(None), *(slice(*pair) for pair in region))]
        over_rows(_by_numpy, n, cut.nbytes, cut, factors[-1], result)
        return result, divisor, negative
    flat, strides, _ = rows(values)
    maximum = MAXIMUM[mode] if mode else None
    normalisation = (divisor, negative) if mode else (None, None)
    work = (flat, *strides, *cuts, even_groups(cuts[2]), maximum, *normalisation, made.reshape(-1))
    over_rows(_prepare, n, flat.nbytes, *work)
    return result, divisor, negative


def _by_numpy(first: int, last: int, values: Array, factor: int, out: Array) -> None:
    """Copy, or add pairs along x, in which NumPy is the fastest; one rounding is the same from float32 as from float64."""
    part = values[first:last]
    if factor == 1:
        np.copyto(out[first:last], part)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        np.add(part[..., ::2], part[..., 1::2], out=out[first:last], dtype=out.dtype)


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
    memory = np.empty((step, *size), _kept(values))
    out, negative = np.empty(n), np.empty(n, np.int64)
    for begin in range(0, n, step):
        end = min(begin + step, n)
        prepared, _, negative[begin:end] = prepare(values[begin:end], region, factors, mode, memory[: end - begin])
        out[begin:end] = top_mean(prepared, reference, k, kind)
    return out, negative


def _kept(values: Array) -> type[np.floating[Any]]:
    return np.float32 if values.dtype == np.float32 else np.float64


def _cuts(region: Region, factors: tuple[int, ...]) -> list[Array]:
    """Where the groups begin and end, along three axes."""
    inside = ((0, 1),) * (3 - len(region)) + tuple(region)
    by = (1,) * (3 - len(factors)) + tuple(factors)
    return [np.arange(low, high + 1, factor) for (low, high), factor in zip(inside, by, strict=True)]


@fast_kernel
def _prepare(first, last, flat, sn, sz, sy, zs, ys, xs, even, maximum, divisor, negative, out):  # type: ignore[no-untyped-def]
    size = (len(zs) - 1) * (len(ys) - 1) * (len(xs) - 1)
    # Few rows at a time, so that they are still in the cache when they are divided.
    step = max(1, CACHED // max(size, 1))
    factor = np.empty(step)
    for begin in range(first, last, step):
        end = min(begin + step, last)
        group_bins(begin, end, flat, sn, sz, sy, zs, ys, xs, even, out)
        if divisor is not None:
            find_sums(begin, end, out, size, 0, 0, 0, 1, 0, 1, 0, size, divisor, negative)
            if maximum is not None:
                find_maxima(begin, end, out, size, 0, 0, 0, 1, 0, 1, 0, size, divisor)
            invert_divisors(begin, end, divisor, factor)
            multiply(begin, end, out, size, 0, 0, 1, 1, size, begin, factor, out)

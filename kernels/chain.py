"""Crop, rebin, normalise and score in one pass over the contents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.bins import Groups, groups_of, merge
from dqmroot.kernels.rows import over_rows, target
from dqmroot.kernels.scale import Region, normalise
from dqmroot.kernels.scratch import scratch
from dqmroot.kernels.top import top_mean

__all__ = ["kept", "prepare", "score"]

Array = NDArray[Any]

# Bytes that are worked on by one kernel after the other.
_CACHED = 1 << 20


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
    n, groups = len(values), _groups(region, factors)
    if not mode:
        return merge(values, groups, kept(values), out), *_undivided(n)
    made = target(out, (n, *groups.size), kept(values))
    divisor, negative = np.empty(n), np.empty(n, np.int64)

    def part(first: int, last: int) -> None:
        for begin, end, (block,) in _blocks(first, last, made.shape, made.dtype, 1):
            rows = merge(values[begin:end], groups, made.dtype, block)
            divided = normalise(rows, mode, out=made[begin:end])
            divisor[begin:end], negative[begin:end] = divided[1:]

    over_rows(part, n, values.nbytes)
    return made, divisor, negative


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
    n, groups = len(values), _groups(region, factors)
    shape = (n, *groups.size)
    out, negative = np.empty(n), np.zeros(n, np.int64)

    def part(first: int, last: int) -> None:
        for begin, end, (block, divided) in _blocks(first, last, shape, kept(values), 2):
            rows = merge(values[begin:end], groups, block.dtype, block)
            if mode:
                rows, _, negative[begin:end] = normalise(rows, mode, out=divided)
            out[begin:end] = top_mean(rows, reference, k, kind)

    over_rows(part, n, values.nbytes)
    return out, negative


def _blocks(first: int, last: int, shape: tuple[int, ...], dtype: Any, copies: int) -> Iterator[tuple[int, int, Array]]:
    """Rows ``first`` to ``last``, some at a time, with memory for them, ``(copies, rows, …)``, that lies in the cache."""
    size = math.prod(shape[1:])
    step = max(1, min(last - first, _CACHED // max(size * np.dtype(dtype).itemsize, 1)))
    with scratch((copies, step, *shape[1:]), dtype) as memory:
        for begin in range(first, last, step):
            end = min(begin + step, last)
            yield begin, end, memory[:, : end - begin]


def kept(values: Array) -> type[np.floating[Any]]:
    """Type of what `prepare` makes of ``values``."""
    return np.float32 if values.dtype == np.float32 else np.float64


@lru_cache(maxsize=16)
def _undivided(n: int) -> tuple[Array, Array]:
    return np.broadcast_to(1.0, n), np.broadcast_to(np.int64(0), n)


@lru_cache(maxsize=256)
def _groups(region: Region, factors: tuple[int, ...]) -> Groups:
    pairs = zip(region, factors, strict=True)
    return groups_of([np.arange(low, high + 1, factor) for (low, high), factor in pairs])

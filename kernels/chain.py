"""Crop, rebin, normalise and score in one pass over the contents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.bins import Groups, merge
from dqmroot.kernels.rows import over_rows, target
from dqmroot.kernels.scale import normalise
from dqmroot.kernels.scratch import scratch
from dqmroot.kernels.top import top_mean

__all__ = ["kept", "prepare", "score"]

Array = NDArray[Any]

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
# Bytes that are worked on by one kernel after the other: fewer are one block, and need no memory that is used again.
_CACHED = 1 << 20


def prepare(values: Array, groups: Groups, mode: str = "", out: Array | None = None) -> tuple[Array, Array | None]:
    """Cut out a region, sum groups of bins, and normalise.

    Args:
        values: ``(n, [z,] [y,] x)``.
        groups: The bins that are summed, see `dqmroot.kernels.bins.blocks_of`.
        mode: ``"integral"``, ``"maximum"`` or ``""`` for neither, as `dqmroot.kernels.scale.normalise`.
        out: Memory for the result; new memory by default.

    Returns:
        ``(n, …)`` float32 for float32, else float64; and with a mode ``(n,)`` the number of negative results before the
        division.
    """
    dtype = kept(values)
    if not mode:
        return merge(values, groups, dtype, out), None
    if values.nbytes < _CACHED:
        made, _, negative = normalise(merge(values, groups, dtype), mode, out=out)
        return made, negative
    n = len(values)
    made, negative = target(out, (n, *groups.size), dtype), np.empty(n, np.int64)

    def part(first: int, last: int) -> None:
        for begin, end, (block,) in _blocks(first, last, made.shape, dtype, 1):
            rows = merge(values[begin:end], groups, dtype, block)
            negative[begin:end] = normalise(rows, mode, out=made[begin:end])[2]

    over_rows(part, n, values.nbytes)
    return made, negative


def score(
    values: Array, groups: Groups, mode: str, reference: Array, k: int, kind: str = "squared"
) -> tuple[Array, Array | None]:
    """Prepare like `prepare`, and compare with a reference without storing what was prepared.

    Args:
        values: ``(n, [z,] [y,] x)``.
        groups: As `prepare` has it.
        mode: As `prepare` has it.
        reference: ``([z,] [y,] x)``, prepared.
        k: How many of the largest differences are averaged.
        kind: As `dqmroot.kernels.top.top_mean` has it.

    Returns:
        ``(n,)`` float64 scores, and with a mode ``(n,)`` the number of negative prepared contents.
    """
    if values.nbytes < _CACHED:
        rows, few = prepare(values, groups, mode)
        return top_mean(rows, reference, k, kind), few
    n = len(values)
    out, negative = np.empty(n), np.empty(n, np.int64) if mode else None

    def part(first: int, last: int) -> None:
        for begin, end, (block, divided) in _blocks(first, last, (n, *groups.size), kept(values), 2):
            rows = merge(values[begin:end], groups, block.dtype, block)
            if negative is not None:
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


def kept(values: Array) -> np.dtype[Any]:
    """Type of what `prepare` makes of ``values``."""
    return values.dtype if values.dtype == _SINGLE else _DOUBLE

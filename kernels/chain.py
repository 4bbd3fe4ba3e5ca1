"""Crop, rebin, normalise and score in one pass over the contents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.bins import group_line, sum_lines
from dqmroot.kernels.jit import fast_kernel, inner_kernel
from dqmroot.kernels.rows import over_rows, rows, target
from dqmroot.kernels.scale import MODES, Region, divisor_of, multiply_line
from dqmroot.kernels.top import DIFFERENCES, differences_of, insertion_is_faster, mean_of_best, top_mean

__all__ = ["prepare", "score"]

Array = NDArray[Any]


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
    flat, strides, shape = rows(values)
    low, size, by = _geometry(region, factors)
    out = target(out, (shape[0], *size), _kept(values))
    divisor = np.ones(shape[0])
    negative = np.zeros(shape[0], np.int64)
    over_rows(_prepare, shape[0], flat.nbytes, flat, *strides, *low, *by, MODES.get(mode, -1), out, divisor, negative)
    return out.reshape(shape[:1] + size[3 - len(factors) :]), divisor, negative


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
    low, size, by = _geometry(region, factors)
    if not insertion_is_faster(int(np.prod(size)), k):
        prepared, _, negative = prepare(values, region, factors, mode)
        return top_mean(prepared, reference, k, kind), negative
    flat, strides, shape = rows(values)
    expected = np.ascontiguousarray(reference, np.float64).reshape(-1)
    out = np.empty(shape[0])
    negative = np.zeros(shape[0], np.int64)
    numbers = (low, size, by, MODES.get(mode, -1), k, DIFFERENCES[kind])
    one = np.empty(0, _kept(values))
    over_rows(_score, shape[0], flat.nbytes, flat, *strides, *numbers, expected, one, out, negative)
    return out, negative


def _kept(values: Array) -> type[np.floating[Any]]:
    return np.float32 if values.dtype == np.float32 else np.float64


def _geometry(region: Region, factors: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """First bins, number of groups and factors of three axes."""
    inside = ((0, 1),) * (3 - len(region)) + tuple(region)
    by = (1,) * (3 - len(factors)) + tuple(factors)
    size = tuple((high - low) // f for (low, high), f in zip(inside, by, strict=True))
    return tuple(low for low, _ in inside), size, by


@inner_kernel
def _cut_and_group(flat, begin, sz, sy, z0, y0, x0, fz, fy, fx, line, out):  # type: ignore[no-untyped-def]
    nx = len(line)
    for c in range(out.shape[0]):
        for b in range(out.shape[1]):
            start = begin + (z0 + c * fz) * sz + (y0 + b * fy) * sy + x0
            if fz * fy == 1:
                group_line(flat[start : start + nx], fx, out[c, b])
            else:
                sum_lines(flat, start, sz, sy, fz, fy, line)
                group_line(line, fx, out[c, b])


@fast_kernel
def _prepare(first, last, flat, sn, sz, sy, z0, y0, x0, fz, fy, fx, mode, out, divisor, negative):  # type: ignore[no-untyped-def]
    line = np.empty(out.shape[3] * fx)
    for i in range(first, last):
        one = out[i]
        _cut_and_group(flat, i * sn, sz, sy, z0, y0, x0, fz, fy, fx, line, one)
        if mode >= 0:
            cells = one.reshape(one.size)
            divisor[i], negative[i] = divisor_of(cells, 0, 0, 0, 0, 1, 0, 1, 0, one.size, mode)
            multiply_line(cells, 1.0 / divisor[i], cells)


@fast_kernel
def _score(first, last, flat, sn, sz, sy, low, size, by, mode, k, kind, expected, like, out, negative):  # type: ignore[no-untyped-def]
    (z0, y0, x0), (nz, ny, nx), (fz, fy, fx) = low, size, by
    line = np.empty(nx * fx)
    one = np.empty((nz, ny, nx), like.dtype)
    cells = one.reshape(one.size)
    found = np.empty(one.size)
    best = np.empty(k)
    for i in range(first, last):
        _cut_and_group(flat, i * sn, sz, sy, z0, y0, x0, fz, fy, fx, line, one)
        if mode >= 0:
            by, negative[i] = divisor_of(cells, 0, 0, 0, 0, 1, 0, 1, 0, one.size, mode)
            multiply_line(cells, 1.0 / by, cells)
        out[i] = mean_of_best(found, differences_of(cells, expected, kind, 0.0, found), best)

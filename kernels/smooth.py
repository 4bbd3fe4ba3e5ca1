"""Weighted means over neighbouring bins, one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import bare_kernel
from dqmroot.kernels.rows import over_rows, rows
from dqmroot.kernels.stream import fetch, put, take

__all__ = ["edge_weights", "smooth"]

Array = NDArray[Any]

# Bins whose sums lie in the first cache.
_PIECE = 1024


def smooth(values: Array, weights: Sequence[Array], dtype: DTypeLike | None = None) -> Array:
    """Replace each bin by the weighted mean of its neighbours.

    Args:
        values: ``(n, [z,] [y,] x)``.
        weights: One odd-sized float64 array per axis of bins, in the order of the array, its middle on the bin itself. At the
            edges the weights of the bins that exist are scaled up to the sum of all.
        dtype: Type of the result; by default that of ``values``.

    Returns:
        The same shape.
    """
    flat, strides, shape = rows(values)
    *others, along = (np.asarray(given, np.float64) for given in weights)
    scaled = [np.ones((1, size)) for size in shape[1 : 3 - len(others)]]
    scaled += [edge_weights(window, size) for window, size in zip(others, shape[3 - len(others) :], strict=False)]
    halves = [len(window) // 2 for window in (*scaled, along)]
    out = np.empty(math.prod(shape), values.dtype if dtype is None else dtype)
    work = (flat, *strides, *shape[1:], *halves, *scaled, along, _edges(along, shape[3])[1], out)
    own = lambda _: (np.empty(math.prod(shape[1:])), np.empty(shape[3]))  # noqa: E731
    over_rows(_smooth, shape[0], flat.nbytes, work, own)
    return out.reshape(values.shape)


def edge_weights(window: Array, size: int) -> Array:
    """``(len(window), size)``: the weight that bin i gives to its neighbour at each distance, 0 outside the axis."""
    inside, factor = _edges(window, size)
    # All but the bins near the edges have the same weights.
    few = len(factor)
    times = np.ones(few, np.int64)
    times[few // 2] += size - few
    return np.repeat(inside * factor, times, axis=1)


def _edges(window: Array, size: int) -> tuple[Array, Array]:
    return _few_edges(window.tobytes(), min(size, len(window)))


@lru_cache(maxsize=256)
def _few_edges(weights: bytes, few: int) -> tuple[Array, Array]:
    """Weights of the bins near the edges, those in the middle left out but for one, and what scales them up."""
    window = np.frombuffer(weights)
    half = len(window) // 2
    at = np.arange(few) + np.arange(-half, half + 1)[:, None]
    inside = np.where((at >= 0) & (at < few), window[:, None], 0.0)
    return inside, window.sum() / inside.sum(axis=0)


@bare_kernel
def _smooth(first, last, flat, sn, sz, sy, nz, ny, nx, hz, hy, hx, wz, wy, wx, edge, out, lines, line):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                begin, at = i * sn + z * sz + y * sy, (z * ny + y) * nx
                fetch(flat, begin, begin + nx)
                # So many bins at a time that their sums stay in the first cache.
                for first_x in range(0, nx, _PIECE):
                    last_x = min(first_x + _PIECE, nx)
                    for x in range(first_x, last_x):
                        put(lines, at + x, wx[hx] * take(flat, begin + x))
                    for step in range(1, min(hx, nx - 1) + 1):
                        later, before = wx[hx + step], wx[hx - step]
                        for x in range(first_x, min(last_x, nx - step)):
                            put(lines, at + x, take(lines, at + x) + later * take(flat, begin + step + x))
                        for x in range(max(first_x, step), last_x):
                            put(lines, at + x, take(lines, at + x) + before * take(flat, begin - step + x))
                left = min(hx, nx)
                for x in range(left):
                    put(lines, at + x, take(lines, at + x) * edge[x])
                for x in range(max(left, nx - hx), nx):
                    put(lines, at + x, take(lines, at + x) * edge[len(edge) - nx + x])
        for z in range(nz):
            for y in range(ny):
                to = ((i * nz + z) * ny + y) * nx
                if hz + hy == 0 and wz[0, z] * wy[0, y] == 1.0:
                    for x in range(nx):
                        out[np.uintp(to + x)] = lines[np.uintp((z * ny + y) * nx + x)]
                    continue
                for x in range(nx):
                    line[x] = 0.0
                for c in range(max(0, z - hz), min(nz, z + hz + 1)):
                    for b in range(max(0, y - hy), min(ny, y + hy + 1)):
                        weight, at = wz[c - z + hz, z] * wy[b - y + hy, y], (c * ny + b) * nx
                        for x in range(nx):
                            line[x] += weight * lines[np.uintp(at + x)]
                for x in range(nx):
                    out[np.uintp(to + x)] = line[x]

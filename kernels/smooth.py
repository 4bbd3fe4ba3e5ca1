"""Weighted means over neighbouring bins, one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import bare_kernel
from dqmroot.kernels.rows import over_rows, rows
from dqmroot.kernels.stream import fetch

__all__ = ["edge_weights", "smooth"]

Array = NDArray[Any]


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
    scaled = [np.ones((1, size)) for size in shape[1 : 4 - len(weights)]]
    halves = [0] * (3 - len(weights))
    for given, size in zip(weights, shape[4 - len(weights) :], strict=True):
        window = np.asarray(given, np.float64)
        halves.append(len(window) // 2)
        scaled.append(edge_weights(window, size))
    out = np.empty(math.prod(shape), values.dtype if dtype is None else dtype)
    work = (flat, *strides, *shape[1:], *halves, *scaled, out)
    own = lambda _: (np.empty(math.prod(shape[1:])), np.empty(shape[3]))  # noqa: E731
    over_rows(_smooth, shape[0], flat.nbytes, *work, own=own)
    return out.reshape(values.shape)


def edge_weights(window: Array, size: int) -> Array:
    """``(len(window), size)``: the weight that bin i gives to its neighbour at each distance, 0 outside the axis."""
    # All but the bins near the edges have the same weights.
    half, few = len(window) // 2, min(size, len(window))
    at = np.arange(few) + np.arange(-half, half + 1)[:, None]
    inside = np.where((at >= 0) & (at < few), window[:, None], 0.0)
    made: Array = inside * (window.sum() / inside.sum(axis=0))
    times = np.ones(few, np.int64)
    times[few // 2] += size - few
    return np.repeat(made, times, axis=1)


@bare_kernel
def _smooth(first, last, flat, sn, sz, sy, nz, ny, nx, hz, hy, hx, wz, wy, wx, out, lines, line):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for z in range(nz):
            for y in range(ny):
                begin, at = i * sn + z * sz + y * sy, (z * ny + y) * nx
                fetch(flat, begin, begin + nx)
                for x in range(nx):
                    lines[np.uintp(at + x)] = wx[hx, x] * flat[np.uintp(begin + x)]
                for step in range(1, min(hx, nx - 1) + 1):
                    for x in range(nx - step):
                        lines[np.uintp(at + x)] += wx[hx + step, x] * flat[np.uintp(begin + step + x)]
                    for x in range(nx - step):
                        lines[np.uintp(at + step + x)] += wx[hx - step, step + x] * flat[np.uintp(begin + x)]
        for z in range(nz):
            for y in range(ny):
                to = ((i * nz + z) * ny + y) * nx
                if hz + hy == 0:
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

"""Sums over neighbouring bins: rebinning, cropping, merging, with one loop for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dqmroot.kernels.jit import fast_kernel
from dqmroot.kernels.rows import over_rows, rows

__all__ = ["merge"]

Array = NDArray[Any]


def merge(values: Array, starts: Sequence[Array], dtype: DTypeLike | None = None) -> Array:
    """Sum groups of neighbouring bins along every axis.

    Args:
        values: ``(n, [z,] [y,] x)``.
        starts: One int64 array per axis of bins, in the order of the array: new bin j is the sum of the old bins
            ``starts[j]`` to ``starts[j + 1]`` (exclusive).
        dtype: Type of the result; by default that of ``values``.

    Returns:
        ``(n, [len(z) - 1,] [len(y) - 1,] len(x) - 1)``, summed in float64.
    """
    flat, strides, shape = rows(values)
    cuts = [np.asarray(s, np.int64) for s in starts]
    cuts = [np.array([0, 1])] * (3 - len(cuts)) + cuts
    out = np.empty((shape[0], *(len(c) - 1 for c in cuts)), values.dtype if dtype is None else dtype)
    over_rows(_merge, shape[0], flat.nbytes, flat, *strides, *cuts, shape[3], out)
    return out.reshape(shape[:1] + out.shape[4 - values.ndim + 1 :] if values.ndim < 4 else out.shape)


@fast_kernel
def _merge(first, last, flat, sn, sz, sy, zs, ys, xs, nx, out):  # type: ignore[no-untyped-def]
    line = np.empty(nx, np.float64)
    for i in range(first, last):
        for c in range(len(zs) - 1):
            for b in range(len(ys) - 1):
                line[:] = 0.0
                for z in range(zs[c], zs[c + 1]):
                    for y in range(ys[b], ys[b + 1]):
                        begin = i * sn + z * sz + y * sy
                        source = flat[begin : begin + nx]
                        for x in range(nx):
                            line[x] += source[x]
                target = out[i, c, b]
                for a in range(len(xs) - 1):
                    total = 0.0
                    for x in range(xs[a], xs[a + 1]):
                        total += line[x]
                    target[a] = total

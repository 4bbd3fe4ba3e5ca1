"""What scores need of short rows: which can be judged, and the largest bins, those of many rows sorted side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from dqmroot.kernels.jit import bare_steady, fast_kernel
from dqmroot.kernels.rows import over_rows
from dqmroot.kernels.stream import take

__all__ = ["MOST", "best_abreast", "lanes_of", "measured"]

Array = NDArray[Any]

MOST = 10
"""As many of the largest are kept."""

_REGISTER = 64
# Places that are compared, and exchanged where the second is larger: Batcher's network sorts eight, ...
_EIGHT = (
    *((0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7), (0, 1), (2, 3)),
    *((4, 5), (6, 7), (2, 4), (3, 5), (1, 4), (3, 6), (1, 2), (3, 4), (5, 6)),
)
# ... and this one ten that fall and then rise.
_TEN = (
    *((0, 8), (1, 9), (0, 1), (2, 6), (3, 7), (4, 8), (5, 9), (2, 4)),
    *((3, 5), (6, 8), (7, 9), (2, 3), (4, 5), (6, 7), (8, 9)),
)


def lanes_of(dtype: np.dtype[Any]) -> int:
    """Return how many rows of this type are sorted side by side; a row must have a multiple of so many bins."""
    return _REGISTER // int(dtype.itemsize)


def measured(values: Array) -> NDArray[np.bool_]:
    """Return which rows of ``values``, ``(n, bins)`` float32, hold something, and nothing that is no finite number."""
    flat = np.ascontiguousarray(values, np.float32)
    out = np.empty(len(flat), np.bool_)
    over_rows(_measured, len(flat), flat.nbytes, (flat.reshape(-1), flat.shape[1], out))
    return out


@fast_kernel
def _measured(first, last, values, n, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        total = 0.0
        for x in range(n):
            total += abs(np.float64(values[np.uintp(i * n + x)]))
        # Sizes in single precision cannot add up to infinity in double precision, and not to 0 where one is not.
        out[i] = total > 0.0 and total < np.inf


@intrinsic
def _sort_in(_, found, at, wide, best):  # type: ignore[no-untyped-def]  # noqa: ARG001 - Numba looks at the names
    """Sort bins of rows that lie ``wide`` apart, from ``found[at]`` on, into the best of each row."""

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        value = context.get_data_type(found.dtype)
        size = context.get_abi_sizeof(value)
        lanes = _REGISTER // size
        vector = ir.VectorType(value, lanes).as_pointer()
        array, at, wide, best = arguments
        source, kept = (
            context.make_array(signature.args[i])(context, builder, value).data for i, value in ((0, array), (3, best))
        )

        def place(data, index):  # type: ignore[no-untyped-def]
            return builder.bitcast(builder.gep(data, [index]), vector)

        def number(n):  # type: ignore[no-untyped-def]
            return ir.Constant(at.type, n)

        def exchange(vectors, pairs):  # type: ignore[no-untyped-def]
            for i, j in pairs:
                a, b = vectors[i], vectors[j]
                larger = builder.fcmp_ordered(">", b, a)
                vectors[i], vectors[j] = builder.select(larger, b, a), builder.select(larger, a, b)

        rows = [
            builder.load(place(source, builder.add(at, builder.mul(wide, number(r)))), align=size) for r in range(lanes)
        ]
        bins = _transposed(builder, rows)
        top = [builder.load(place(kept, number(j * lanes)), align=size) for j in range(MOST)]
        for begin in range(0, lanes, 8):
            eight = bins[begin : begin + 8]
            exchange(eight, _EIGHT)
            # The larger of the j-th largest of one and the j-th smallest of the other are the largest of both.
            for j, new in enumerate(reversed(eight), start=MOST - 8):
                top[j] = builder.select(builder.fcmp_ordered(">", new, top[j]), new, top[j])
            exchange(top, _TEN)
        for j in range(MOST):
            builder.store(top[j], place(kept, number(j * lanes)), align=size)
        return context.get_dummy_value()

    return types.void(found, types.intp, types.intp, best), code


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Turn vectors of rows into vectors of columns: blocks of 1, 2, 4 ... off the diagonal change places."""
    step, lanes = 1, len(rows)
    while step < lanes:
        first = [j if not j & step else lanes + j - step for j in range(lanes)]
        second = [j + step if not j & step else lanes + j for j in range(lanes)]
        kind = ir.VectorType(ir.IntType(32), lanes)
        for i in range(lanes):
            if not i & step:
                a, b = rows[i], rows[i + step]
                rows[i] = builder.shuffle_vector(a, b, ir.Constant(kind, first))
                rows[i + step] = builder.shuffle_vector(a, b, ir.Constant(kind, second))
        step *= 2
    return rows


@bare_steady
def best_abreast(found, n, wide, k, square, best, total, out):  # type: ignore[no-untyped-def]
    """Find the mean of the ``k`` largest, or of their squares, of each row; NaN where ``total`` is.

    Args:
        found: Flat float32 or float64, not negative, rows of ``wide``, and as many of them that `lanes_of` divides it.
        n: How many rows there are.
        wide: A number that `lanes_of` divides.
        k: At most `MOST` and at most the bins of a row; those that only fill it up are 0.
        square: Whether to average squares.
        best: Memory of the same type, ``MOST`` times `lanes_of`.
        total: ``(n,)`` the sums of the rows.
        out: ``(n,)`` the result.
    """
    lanes = _REGISTER // found.itemsize
    for begin in range(0, n, lanes):
        for x in range(len(best)):
            best[x] = 0
        for x in range(0, wide, lanes):
            _sort_in(found, begin * wide + x, wide, best)
        for i in range(begin, min(begin + lanes, n)):
            mean = 0.0
            for j in range(k):
                d = take(best, j * lanes + i - begin)
                mean += d * d if square else d
            out[i] = np.nan if np.isnan(total[i]) else mean / k

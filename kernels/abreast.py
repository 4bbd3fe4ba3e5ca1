"""What scores need of short rows in single precision: which can be judged, and the mean of the k largest squared differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.jit import fast_kernel, inner_kernel
from dqmroot.kernels.rows import over_rows

__all__ = ["MOST", "measured", "top_squares"]

Array = NDArray[Any]

MOST = 10
"""As many of the largest can be averaged."""

# Eight rows at once, whose bins stand side by side in memory; the odd bins of a row are sorted beside the even ones.
_ROWS, _ABREAST = 8, 16


def top_squares(values: Array, other: Array, k: int) -> NDArray[np.float64]:
    """Mean of the ``k`` largest squared differences of each row.

    The differences are rounded to float32, which is exact where the two are within a factor of two of each other (Sterbenz), and
    squared and averaged in float64.

    Args:
        values: ``(n, bins)`` float32, contiguous.
        other: The same.
        k: How many; at most `MOST` and at most the bins.

    Returns:
        ``(n,)`` float64; NaN for rows with a difference that is not finite.
    """
    if not (values.dtype == other.dtype == np.float32 and values.flags.c_contiguous and other.flags.c_contiguous):
        raise ValueError("both arrays must be float32 and contiguous")
    if values.shape != other.shape or not 1 <= k <= min(MOST, values.shape[1]):
        raise ValueError(f"{k} largest of {values.shape} and {other.shape}")
    out = np.empty(len(values))
    work = (values.reshape(-1), other.reshape(-1), values.shape[1], k, out)
    over_rows(_top_squares, len(values), values.nbytes, *work)
    return out


def measured(values: Array) -> NDArray[np.bool_]:
    """Return which rows of ``values``, ``(n, bins)`` float32, hold something, and nothing that is no finite number."""
    flat = np.ascontiguousarray(values, np.float32)
    out = np.empty(len(flat), np.bool_)
    over_rows(_measured, len(flat), flat.nbytes, flat.reshape(-1), flat.shape[1], out)
    return out


@fast_kernel
def _measured(first, last, values, n, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        total = 0.0
        for x in range(n):
            total += abs(np.float64(values[np.uintp(i * n + x)]))
        # Sizes in single precision cannot add up to infinity in double precision, and not to 0 where one is not.
        out[i] = total > 0.0 and total < np.inf


@fast_kernel
def _top_squares(first, last, values, other, n, k, out):  # type: ignore[no-untyped-def]
    # Memory is made here: of what is handed in the compiler does not know that it does not overlap, and takes no registers.
    # Bins that are only there to fill the last sixteen are 0: no distance is less.
    size = (n + 15) // 16 * 8
    line = np.zeros(size * _ABREAST, np.float32)
    turned = line.reshape(size, _ABREAST)
    best, total = np.empty((MOST, _ABREAST), np.float32), np.empty(_ABREAST, np.float32)
    for begin in range(first, last, _ROWS):
        _turn(begin, min(_ROWS, last - begin), values, other, n, line)
        for r in range(_ABREAST):
            total[r] = 0
        for j in range(MOST):
            for r in range(_ABREAST):
                best[j, r] = 0
        for x in range(size):
            for r in range(_ABREAST):
                total[r] += turned[x, r]
        for x in range(0, size, 8):
            for r in range(_ABREAST):
                _merge_eight(turned, best, x, r)
        for r in range(min(_ROWS, last - begin)):
            mean = 0.0
            for j in range(k):
                # The k largest of two sorted lists: the larger of the j-th of one and the j-th from behind of the other.
                d = np.float64(max(best[j, r], best[k - 1 - j, r + _ROWS]))
                mean += d * d
            # A comparison skips a NaN, a sum does not.
            out[begin + r] = mean / k if total[r] + total[r + _ROWS] < np.inf else np.nan


@inner_kernel
def _turn(row, here, values, other, n, line):  # type: ignore[no-untyped-def]
    """Fill ``line`` with distances, bin by bin, those of eight rows side by side; of the last rows only ``here`` are there."""
    a = row * n
    if here < 8:
        for x in range(n):
            for r in range(here):
                at = a + r * n + x
                line[np.uintp(8 * x + r)] = abs(values[np.uintp(at)] - other[np.uintp(at)])
        return
    # Written out: eight stores that lie side by side become shuffles of whole registers.
    b = a + n
    c = b + n
    d = c + n
    e = d + n
    f = e + n
    g = f + n
    h = g + n
    for x in range(n):
        line[np.uintp(8 * x)] = abs(values[np.uintp(a + x)] - other[np.uintp(a + x)])
        line[np.uintp(8 * x + 1)] = abs(values[np.uintp(b + x)] - other[np.uintp(b + x)])
        line[np.uintp(8 * x + 2)] = abs(values[np.uintp(c + x)] - other[np.uintp(c + x)])
        line[np.uintp(8 * x + 3)] = abs(values[np.uintp(d + x)] - other[np.uintp(d + x)])
        line[np.uintp(8 * x + 4)] = abs(values[np.uintp(e + x)] - other[np.uintp(e + x)])
        line[np.uintp(8 * x + 5)] = abs(values[np.uintp(f + x)] - other[np.uintp(f + x)])
        line[np.uintp(8 * x + 6)] = abs(values[np.uintp(g + x)] - other[np.uintp(g + x)])
        line[np.uintp(8 * x + 7)] = abs(values[np.uintp(h + x)] - other[np.uintp(h + x)])


@inner_kernel
def _merge_eight(turned, best, x, r):  # type: ignore[no-untyped-def]
    """Keep the ten largest of ten that are sorted and eight new ones, sorted; no branch, so that rows stand side by side."""
    a, b, c, d = turned[x, r], turned[x + 1, r], turned[x + 2, r], turned[x + 3, r]
    e, f, g, h = turned[x + 4, r], turned[x + 5, r], turned[x + 6, r], turned[x + 7, r]
    # Batcher's network: 19 comparisons sort eight, the largest first.
    a, c = (c, a) if c > a else (a, c)
    b, d = (d, b) if d > b else (b, d)
    e, g = (g, e) if g > e else (e, g)
    f, h = (h, f) if h > f else (f, h)
    a, e = (e, a) if e > a else (a, e)
    b, f = (f, b) if f > b else (b, f)
    c, g = (g, c) if g > c else (c, g)
    d, h = (h, d) if h > d else (d, h)
    a, b = (b, a) if b > a else (a, b)
    c, d = (d, c) if d > c else (c, d)
    e, f = (f, e) if f > e else (e, f)
    g, h = (h, g) if h > g else (g, h)
    c, e = (e, c) if e > c else (c, e)
    d, f = (f, d) if f > d else (d, f)
    b, e = (e, b) if e > b else (b, e)
    d, g = (g, d) if g > d else (d, g)
    b, c = (c, b) if c > b else (b, c)
    d, e = (e, d) if e > d else (d, e)
    f, g = (g, f) if g > f else (f, g)
    # The larger of the j-th largest of one and the j-th smallest of the other are the largest of both; they fall, then rise.
    p, q = best[0, r], best[1, r]
    h = h if h > best[2, r] else best[2, r]  # noqa: FURB136 - max() is not vectorised
    g = g if g > best[3, r] else best[3, r]  # noqa: FURB136
    f = f if f > best[4, r] else best[4, r]  # noqa: FURB136
    e = e if e > best[5, r] else best[5, r]  # noqa: FURB136
    d = d if d > best[6, r] else best[6, r]  # noqa: FURB136
    c = c if c > best[7, r] else best[7, r]  # noqa: FURB136
    b = b if b > best[8, r] else best[8, r]  # noqa: FURB136
    a = a if a > best[9, r] else best[9, r]  # noqa: FURB136
    # Such a sequence, p q h g f e d c b a, is sorted by 15 comparisons.
    p, b = (b, p) if b > p else (p, b)
    q, a = (a, q) if a > q else (q, a)
    p, q = (q, p) if q > p else (p, q)
    h, d = (d, h) if d > h else (h, d)
    g, c = (c, g) if c > g else (g, c)
    f, b = (b, f) if b > f else (f, b)
    e, a = (a, e) if a > e else (e, a)
    h, f = (f, h) if f > h else (h, f)
    g, e = (e, g) if e > g else (g, e)
    d, b = (b, d) if b > d else (d, b)
    c, a = (a, c) if a > c else (c, a)
    h, g = (g, h) if g > h else (h, g)
    f, e = (e, f) if e > f else (f, e)
    d, c = (c, d) if c > d else (d, c)
    b, a = (a, b) if a > b else (b, a)
    best[0, r], best[1, r], best[2, r], best[3, r], best[4, r] = p, q, h, g, f
    best[5, r], best[6, r], best[7, r], best[8, r], best[9, r] = e, d, c, b, a

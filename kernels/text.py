"""Numbers out of text: lists such as ``[1, 2.5, np.int64(3)]`` or ``[ 1.  2. ]``, many rows in one buffer of bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dqmroot.kernels.jit import kernel

__all__ = ["POWERS", "parse_numbers"]

POWERS = np.array([10.0**i for i in range(23)])
"""The powers of ten that a float64 holds exactly."""

# What a byte is: 0 apart from numbers, 1 digit, 2 sign or point, 3 letter or underscore.
_KIND = np.zeros(256, np.uint8)
_KIND[48:58] = 1
_KIND[[43, 45, 46]] = 2
_KIND[65:91] = _KIND[97:123] = _KIND[95] = 3


@kernel
def parse_numbers(
    text: NDArray[np.uint8],
    offsets: NDArray[np.uint64],
    powers: NDArray[np.float64],
    slow: NDArray[np.uint64],
    ends: NDArray[np.int64],
    out: NDArray[np.float64],
) -> int:
    """Parse every number of every row; words before an opening bracket (``np.int64(``, ``array(``) do not count.

    Each number is the double nearest to its text. What is not a plain decimal number of at most 15 digits (an
    exponent, ``nan``, nonsense) is left to the caller.

    Args:
        text: All rows, one after the other, then one byte that is no part of any number.
        offsets: ``(n + 1,)`` uint64, increasing, where each row begins in ``text``, and where the last one ends.
        powers: `POWERS`.
        slow: ``(m, 3)`` uint64: index in ``out``, begin and end in ``text`` of the first m numbers left to the caller.
        ends: ``(n,)`` int64: index in ``out`` at which each row ends.
        out: Float64, at least one for every two bytes of text and one for each row.

    Returns:
        How many numbers are left to the caller; more than m means that some are not listed in ``slow``.
    """
    one = np.uint64(1)
    index = np.uint64(0)
    n_slow = np.uint64(0)
    for row in range(len(ends)):
        at, stop = offsets[row], offsets[row + 1]
        while at < stop:
            kind = _KIND[text[at]]
            if kind == 0:
                at += one
                continue
            begin = at
            negative = text[at] == 45
            if negative:
                at += one
            first = at
            mantissa = np.int64(0)
            while at < stop and _KIND[text[at]] == 1:
                mantissa = mantissa * 10 + np.int64(text[at] - 48)
                at += one
            digits = at - first
            value = np.float64(mantissa)
            if at < stop and text[at] == 46:
                at += one
                point = at
                while at < stop and _KIND[text[at]] == 1:
                    mantissa = mantissa * 10 + np.int64(text[at] - 48)
                    at += one
                decimals = at - point
                digits += decimals
                # Both sides are exact in float64, so the quotient is the nearest double.
                value = np.float64(mantissa) / powers[min(decimals, np.uint64(22))]
            plain = np.uint64(0) < digits <= np.uint64(15)
            if not plain or (at < stop and _KIND[text[at]] != 0):
                while at < stop and _KIND[text[at]] != 0:
                    at += one
                if at < stop and text[at] == 40:
                    continue
                if n_slow < np.uint64(len(slow)):
                    slow[n_slow, 0], slow[n_slow, 1], slow[n_slow, 2] = index, begin, at
                n_slow += one
            out[index] = -value if negative else value
            index += one
        ends[row] = index
    return int(n_slow)

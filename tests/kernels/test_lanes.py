"""Each innermost loop beside its plain form: every length and type, and nothing written or read beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from dqmroot.kernels.lanes import add_line, fold_line, fold_lines, put_line, scale_line, sum_line, sum_lines, top_line

Array = NDArray[Any]
Call = Callable[..., Any]

TYPES = ["f4", "f8", "i2", "i4", "i8", "u1", "u4"]
LENGTHS = [*range(34), 100]


def _put(to, at, flat, begin, other, n):  # type: ignore[no-untyped-def]
    put_line(to, at, flat, begin, n)


def _add(to, at, flat, begin, other, n):  # type: ignore[no-untyped-def]
    add_line(to, at, flat, begin, n)


def _sum(to, at, flat, begin, other, n):  # type: ignore[no-untyped-def]
    sum_lines(to, at, flat, begin, flat, other, n)


def _fold(to, at, flat, begin, other, n):  # type: ignore[no-untyped-def]
    fold_line(to, at, flat, begin, n)


def _fold_both(to, at, flat, begin, other, n):  # type: ignore[no-untyped-def]
    fold_lines(to, at, flat, begin, flat, other, n)


def _scale(to, at, flat, begin, other, n):  # type: ignore[no-untyped-def]
    scale_line(to, at, flat, begin, n, 0.3)


def _total(flat, begin, n):  # type: ignore[no-untyped-def]
    return sum_line(flat, begin, n)


def _top(flat, begin, n):  # type: ignore[no-untyped-def]
    return top_line(flat, begin, n)


def wide(flat: Array, begin: int, n: int) -> Array:
    return flat[begin : begin + n].astype(np.float64)


TWINS: dict[str, tuple[Call, Call]] = {
    "put": (_put, lambda to, flat, a, b, n: wide(flat, a, n)),
    "add": (_add, lambda to, flat, a, b, n: to + wide(flat, a, n)),
    "sum": (_sum, lambda to, flat, a, b, n: wide(flat, a, n) + wide(flat, b, n)),
    "fold": (_fold, lambda to, flat, a, b, n: wide(flat, a, 2 * n).reshape(n, 2).sum(axis=1)),
    "fold both": (
        _fold_both,
        lambda to, flat, a, b, n: (wide(flat, a, 2 * n) + wide(flat, b, 2 * n)).reshape(n, 2).sum(axis=1),
    ),
    "scale": (_scale, lambda to, flat, a, b, n: wide(flat, a, n) * 0.3),
}


@pytest.mark.parametrize("made", ["f4", "f8", "i4"])
@pytest.mark.parametrize("given", TYPES)
@pytest.mark.parametrize("name", TWINS)
def test_lines(name: str, given: str, made: str) -> None:
    call, twin = TWINS[name]
    compiled: Any = numba.njit(call)
    rng = np.random.default_rng(5)
    for n in LENGTHS:
        # What is read ends where its memory ends, on the last page or not.
        flat, begin = rng.integers(0, 60, 3 + 4 * n).astype(given), 3 + 2 * n
        before = rng.integers(0, 60, n + 9).astype(made)
        out = before.copy()
        compiled(out, 4, flat, begin, 1, n)
        assert (out[4 : 4 + n] == twin(before[4 : 4 + n], flat, begin, 1, n).astype(made)).all(), n
        assert (np.delete(out, np.s_[4 : 4 + n]) == np.delete(before, np.s_[4 : 4 + n])).all(), n


@pytest.mark.parametrize("given", TYPES)
def test_sums_and_tops(given: str) -> None:
    total: Any = numba.njit(_total)
    top: Any = numba.njit(_top)
    for n in LENGTHS:
        flat = np.random.default_rng(n).integers(0, 60, n + 5).astype(given)
        assert total(flat, 5, n) == (flat[5:].sum(dtype=np.float64), False)
        assert top(flat, 5, n) == (flat[5:].max(initial=0), False)
        # A large number of an unsigned type has the first bit set, and is not negative.
        large = np.iinfo(given).max if np.dtype(given).kind in "iu" else 1e30
        for bad in [large, -3][: 1 if np.dtype(given).kind == "u" else 2]:
            if n:
                flat[5 + n // 2] = bad
                assert total(flat, 5, n)[1] == (bad < 0)
                assert top(flat, 5, n) == (flat[5:].max(initial=0), bad < 0)


def test_what_is_not_a_number_stays_so() -> None:
    total: Any = numba.njit(_total)
    top: Any = numba.njit(_top)
    scale: Any = numba.njit(_scale)
    for bad in (np.nan, np.inf, -np.inf):
        flat = np.ones(21)
        flat[19] = bad
        out = np.zeros(21)
        assert np.array_equal(total(flat, 0, 21)[0], bad, equal_nan=True)
        assert np.array_equal(top(flat, 0, 21)[0], max(bad, 1.0), equal_nan=True)
        scale(out, 0, flat, 0, 0, 21)
        assert np.array_equal(out, flat * 0.3, equal_nan=True)
    assert total(np.full(3, -0.0), 0, 3) == (0.0, True)
    # Lanes that do not count hold no number that could reach a sum.
    flat[:] = np.nan
    assert total(flat, 0, 0) == top(flat, 0, 0) == (0, False)
